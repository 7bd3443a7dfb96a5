import ByteBuffers

/// What answers a request. Made when the head has come; it hears of the body, of its end, and of a client who leaves.
///
/// It answers through its ``Exchange``, once: with a whole response from `received` on, or with a stream that
/// libmicrohttpd reads from it, from `receivedEnd` on. A response before `receivedEnd` ends the connection.
package protocol RequestHandler: AnyObject {
  /// How large the request's body may be; nil for as large as any.
  var bodyLimit: BodyLimit? { get }
  /// Whether the answer may be long in coming, by design, or has no end: it is given up half a second after its client
  /// has closed its side, others somewhat later (``ClientConnection``).
  var isEndless: Bool { get }
  /// Whether the request has to ask for a host that is allowed (``AllowedHosts``).
  var needsAllowedHost: Bool { get }
  /// What the handler does with the body.
  var bodyUse: BodyUse { get }
  /// Whether any client may send it a body, as it is how clients become known; its ``bodyLimit`` is small.
  var isLogin: Bool { get }
  /// A piece of the body; `isWhole` if there was and will be no other.
  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool)
  /// The request is complete.
  func receivedEnd()
  /// More of the answer that was begun as a stream.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead
  /// The client has left before the answer was complete. Nothing more is to be said.
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
  /// It lets the body go by, or has done with each piece at once.
  case none
  /// It keeps pieces of the body until all have come, which then count as kept for the client (`--max-memory`).
  case whole
  /// It takes the body as it comes, and has the client wait (``Exchange/holdBody()``). It counts by itself what it
  /// keeps. The body may have any size.
  case asItComes
}

/// How large a request's body may be.
package struct BodyLimit {
  package let bytes: Int
  /// What sets it: a flag, or what the request is for that never needs more.
  package let reason: StaticString

  package init(bytes: Int, flag: StaticString) {
    self.bytes = bytes
    reason = flag
  }

  /// A limit of requests that need less than the flag of all others allows.
  ///
  /// - Parameters:
  ///   - bytes: the limit, unless that flag is below.
  ///   - reason: why they need no more.
  package init(of bytes: Int, because reason: StaticString, within limits: HTTPServer.Limits) {
    guard bytes < limits.requestBytes else {
      self = limits.body
      return
    }
    self.bytes = bytes
    self.reason = reason
  }

  /// That of a body that is taken as it comes.
  package static let none = BodyLimit(bytes: .max, flag: "")

  /// What a client is told whose request goes beyond.
  var error: RequestError { RequestError(413, "the request body is larger than \(bytes) bytes (\(reason))") }
}

/// What there is to read of a streamed answer.
package enum StreamRead {
  case bytes(Int)
  /// Nothing now; the handler calls ``Exchange/streamIsReadable()`` when there is.
  case notYet
  case end
  /// The rest will never come: the connection is cut, so that the client sees that the answer is not whole.
  case broken
}
