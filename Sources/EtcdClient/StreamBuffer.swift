internal import GrpcBridge
internal import Synchronization

/// The received and unread part of a stream: written by the client's thread, read by one task.
final class StreamBuffer<Element: Sendable>: Sendable {
  /// How an element is kept while others wait.
  enum Policy: Sendable {
    /// It waits, too; beyond so many bytes the writer has to pause.
    case keep(bytes: Int)
    /// It replaces the waiting one.
    case newest
  }

  /// The result of a reader's look into the buffer.
  private enum Found {
    /// An element, or the end.
    case element(Element?)
    case nothing
  }

  private struct State {
    /// The elements in reverse order, the next one last, and those that have come since.
    var next: [(Element, Int)] = []
    var arrived: [(Element, Int)] = []
    var size = 0
    var isHeldBack = false
    var reader: CheckedContinuation<Element?, any Error>?
    var isEnded = false
    var error: (any Error)?

    mutating func take() throws -> Found {
      if next.isEmpty { swap(&next, &arrived); next.reverse() }
      if let (element, bytes) = next.popLast() {
        size -= bytes
        return .element(element)
      }
      guard isEnded else { return .nothing }
      // Thrown once; after that the stream is just over.
      if let error = error.take() { throw error }
      return .element(nil)
    }
  }

  private let state = Mutex(State())
  private let policy: Policy

  init(_ policy: Policy) { self.policy = policy }

  /// Adds an element.
  ///
  /// - Parameter size: how many bytes it counts as.
  /// - Returns: whether there is room for more; if not, ``next(whenRoom:)`` notifies the writer when there is again.
  func add(_ element: Element, size: Int = 0) -> Bool {
    let (reader, hasRoom) = state.withLock { state -> (CheckedContinuation<Element?, any Error>?, Bool) in
      guard !state.isEnded else { return (nil, true) }
      if let reader = state.reader.take() { return (reader, true) }
      switch policy {
      case .newest:
        state.next = [(element, 0)]
      case .keep(let limit):
        state.arrived.append((element, size))
        state.size += size
        state.isHeldBack = state.size > limit
      }
      return (nil, !state.isHeldBack)
    }
    reader?.resume(returning: element)
    return hasRoom
  }

  /// Ends the stream after the elements in it.
  ///
  /// - Parameter dropping: whether to drop the elements in it.
  func finish(_ error: (any Error)?, dropping: Bool = false) {
    let reader = state.withLock { state -> CheckedContinuation<Element?, any Error>? in
      if dropping { (state.next, state.arrived, state.size) = ([], [], 0) }
      guard !state.isEnded else { return nil }
      state.isEnded = true
      let reader = state.reader.take()
      if reader == nil { state.error = error }
      return reader
    }
    if let error { reader?.resume(throwing: error) } else { reader?.resume(returning: nil) }
  }

  /// The next element; nil at the end. To be called by one task at a time.
  ///
  /// - Parameter whenRoom: called if the writer was asked to pause and may continue.
  func next(whenRoom: () -> Void) async throws -> Element? {
    let (found, hasRoom) = try state.withLock { state in
      let found = try state.take()
      let hasRoom = state.isHeldBack && state.size == 0
      if hasRoom { state.isHeldBack = false }
      return (found, hasRoom)
    }
    if hasRoom { whenRoom() }
    if case .element(let element) = found { return element }
    return try await withCheckedThrowingContinuation { continuation in
      let found = state.withLock { state -> Result<Found, any Error> in
        let found = Result { try state.take() }
        if case .success(.nothing) = found {
          precondition(state.reader == nil, "a stream of etcd is read by two tasks at once")
          state.reader = continuation
        }
        return found
      }
      switch found {
      case .success(.nothing): break
      case .success(.element(let element)): continuation.resume(returning: element)
      case .failure(let error): continuation.resume(throwing: error)
      }
    }
  }
}
