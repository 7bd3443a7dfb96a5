/// One client's request to keep a lease alive, from ``LeaseKeeper/keepAlive(_:for:timeout:answer:)`` to its answer.
/// Belongs to one loop.
package final class KeepAliveRequest {
  /// Gets the bytes of etcd's `LeaseKeepAliveResponse`, or the reason why there is none; called once at most.
  package typealias Answer = (Result<[UInt8], GRPCStatus>) -> Void

  /// When it is given up, by the loop's clock.
  let deadline: UInt64
  private let timeout: UInt64
  private var answer: Answer?
  /// The stream that has the request; nil if there is none. Invariant: it lives until the request is over.
  private unowned let stream: LeaseStream?
  /// How many members were lost that owed the answer.
  var losses = 0

  init(timeout: UInt64, deadline: UInt64, stream: LeaseStream?, answer: @escaping Answer) {
    self.timeout = timeout
    self.deadline = deadline
    self.stream = stream
    self.answer = answer
  }

  /// Whether the caller no longer waits for the answer.
  var isOver: Bool { answer == nil }

  /// Forgets the request, and never calls its answer. What was sent to etcd cannot be taken back and does no harm.
  package func cancel() {
    if answer.take() != nil { stream?.isLeft() }
  }

  func finish(_ result: Result<[UInt8], GRPCStatus>) {
    guard let answer = answer.take() else { return }
    // The caller may send another request at once: then the stream is never without one.
    answer(result)
    stream?.isLeft()
  }

  /// Ends the request at its deadline.
  ///
  /// - Parameter trouble: what went wrong with the stream before, if anything.
  func expire(after trouble: GRPCStatus?) {
    let reason = trouble.map { "; what failed before: \($0.message)" } ?? ""
    finish(.failure(GRPCStatus(.deadlineExceeded, "etcd did not answer within \(timeout) ms\(reason)")))
  }
}
