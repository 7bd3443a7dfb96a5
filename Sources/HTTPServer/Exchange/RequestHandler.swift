import ByteBuffers

/// Answers one request. Made when the head has come; then notified of the body, of its end, and if the client
/// disconnects.
///
/// It answers through its ``Exchange``, once: with a whole response, at any time from `received` on, or with a stream
/// that libmicrohttpd reads from it, from `receivedEnd` on. A response before `receivedEnd` ends the connection.
package protocol RequestHandler: AnyObject {
  /// How large the request's body may be; nil for the limit of all requests.
  var bodyLimit: BodyLimit? { get }
  /// Whether the answer may take long by design, or has no end. If the client closes its sending side, such an answer
  /// is given up after half a second, others somewhat later (``ClientConnection``).
  var isEndless: Bool { get }
  /// Whether the request must name an allowed host (``AllowedHosts``).
  var needsAllowedHost: Bool { get }
  /// What the handler does with the body.
  var bodyUse: BodyUse { get }
  /// Whether any client may send it a body, because clients log in by it; its ``bodyLimit`` is small.
  var isLogin: Bool { get }
  /// A piece of the body; `isWhole` if it is the only one.
  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool)
  /// The request is complete.
  func receivedEnd()
  /// Copies the next bytes of a streamed answer to `buffer`.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead
  /// The client has disconnected before the answer was complete. No answer can be sent any more.
  func clientIsGone()
}

extension RequestHandler {
  package var bodyLimit: BodyLimit? { nil }
  package var isEndless: Bool { false }
  package var needsAllowedHost: Bool { true }
  package var bodyUse: BodyUse { .none }
  package var isLogin: Bool { false }
  package func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {}
  package func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead { .broken }
}

/// What a handler does with a request's body.
package enum BodyUse {
  /// It ignores the body, or is done with each piece at once.
  case none
  /// It keeps pieces of the body until all have come; they count as kept for the client (`--max-memory`).
  case whole
  /// It uses the body as it comes, makes the client wait if need be (``Exchange/holdBody()``), and counts by itself
  /// what it keeps. The body may have any size.
  case asItComes
}

/// How large a request's body may be.
package struct BodyLimit {
  let bytes: Int
  /// What sets the limit: a flag, or the purpose of the request.
  let reason: StaticString

  package init(bytes: Int, flag: StaticString) {
    self.bytes = bytes
    reason = flag
  }

  /// A limit for requests that need less than the flag for all requests allows.
  ///
  /// - Parameters:
  ///   - bytes: the limit, unless the flag is lower.
  ///   - reason: why these requests need no more.
  package init(of bytes: Int, because reason: StaticString, within limits: HTTPServer.Limits) {
    guard bytes < limits.requestBytes else {
      self = limits.body
      return
    }
    self.bytes = bytes
    self.reason = reason
  }

  /// The limit of a body that is used as it comes.
  static let none = BodyLimit(bytes: .max, flag: "")

  /// The error for a request whose body is larger.
  var error: RequestError { RequestError(413, "the request body is larger than \(bytes) bytes (\(reason))") }
}

/// What can be read of a streamed answer.
package enum StreamRead {
  case bytes(Int)
  /// Nothing now; the handler calls ``Exchange/streamIsReadable()`` when there is something.
  case notYet
  case end
  /// The rest will never come: the connection is cut, so that the client sees that the answer is incomplete.
  case broken
}
