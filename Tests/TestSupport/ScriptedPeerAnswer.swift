import Synchronization

extension ScriptedPeer {
  /// The steps on a stream; a stream whose steps have ended without `END_STREAM` just hangs.
  package struct Answer: Sendable, ExpressibleByArrayLiteral {
    package let steps: [Step]

    package init(_ steps: [Step]) { self.steps = steps }
    package init(arrayLiteral steps: Step...) { self.steps = steps }
  }

  package enum Step: Sendable {
    /// HEADERS without END_STREAM.
    case headers([Header])
    /// DATA with these bytes unchanged, as far and as fast as the client's windows allow.
    case data([UInt8])
    /// HEADERS with END_STREAM.
    case trailers([Header])
    /// An empty DATA frame with END_STREAM.
    case endStream
    /// These bytes on the connection, frames or not: what they mean for the stream is up to them.
    case raw([UInt8])
    /// The same, made for the stream's number.
    case rawOnStream(@Sendable (Int32) -> [UInt8])
    /// RST_STREAM.
    case reset(code: UInt32)
    /// GOAWAY; `lastStream` as in `ScriptedPeer.goAway`.
    case goAway(lastStream: Int32, code: UInt32)
    /// Closes the connection once everything before is written: with FIN, or with RST if `abruptly`.
    case close(abruptly: Bool)
    /// Neither reads nor writes on the connection from here on, as if the process were stopped: its system still
    /// accepts what comes.
    case freeze
    /// Continues once the client has acknowledged a PING: it has read everything that was sent before.
    case barrier
    /// Continues once the gate is open.
    case wait(Gate)
  }

  /// Holds answers back until the test opens it.
  package final class Gate: Sendable {
    private struct State {
      var isOpen = false
      var waiting: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())

    package init() {}

    package func open() {
      let waiting = state.withLock { state in
        state.isOpen = true
        defer { state.waiting = [] }
        return state.waiting
      }
      for resume in waiting { resume() }
    }

    /// Calls `resume` when the gate opens, or at once if it is open.
    func whenOpen(_ resume: @escaping @Sendable () -> Void) {
      let isOpen = state.withLock { state in
        if !state.isOpen { state.waiting.append(resume) }
        return state.isOpen
      }
      if isOpen { resume() }
    }
  }
}

/// HTTP/2's error codes (RFC 9113 section 7), as far as tests name them.
package enum HTTP2Error {
  package static let noError: UInt32 = 0x0
  package static let protocolError: UInt32 = 0x1
  package static let internalError: UInt32 = 0x2
  package static let refusedStream: UInt32 = 0x7
  package static let cancel: UInt32 = 0x8
  package static let enhanceYourCalm: UInt32 = 0xb
}

extension ScriptedPeer.Answer {
  /// One message and status OK.
  package static func message(_ message: [UInt8]) -> Self { messages([message]) }

  /// Messages, then the status in the trailers.
  package static func messages(_ messages: [[UInt8]], status: Int = 0, text: String = "") -> Self {
    Self(
      [.headers(.grpcResponse)] + messages.map { .data(grpcFrame($0)) } + [.trailers(.grpcStatus(status, text))])
  }

  /// A trailers-only answer: the status in the only HEADERS frame (gRPC over HTTP/2, "Responses").
  package static func failure(_ status: Int, _ text: String) -> Self {
    [.trailers(.grpcResponse + .grpcStatus(status, text))]
  }

  /// A message in these pieces of bytes, each read by the client before the next is sent, then status OK.
  package static func dripped(_ pieces: [[UInt8]]) -> Self {
    Self([.headers(.grpcResponse)] + pieces.flatMap { [.data($0), .barrier] } + [.trailers(.grpcStatus(0))])
  }

  /// Plain HTTP without any gRPC, as a proxy in between answers.
  package static func http(
    status: Int, contentType: String = "text/html", body: String = "<html>proxy</html>"
  ) -> Self {
    [
      .headers([.init(":status", String(status)), .init("content-type", contentType)]),
      .data(Array(body.utf8)), .endStream,
    ]
  }

  /// Never answers.
  package static let hang: Self = []

  /// RST_STREAM with REFUSED_STREAM: certainly not processed (RFC 9113 section 8.7).
  package static let refused: Self = [.reset(code: HTTP2Error.refusedStream)]

  /// This answer, once the gate is open.
  package func after(_ gate: ScriptedPeer.Gate) -> Self { Self([.wait(gate)] + steps) }
}

extension [ScriptedPeer.Header] {
  /// The header fields with which a gRPC server begins.
  package static let grpcResponse: Self = [.init(":status", "200"), .init("content-type", "application/grpc")]

  /// `grpc-status` and, if there is any text, the percent-encoded `grpc-message`.
  package static func grpcStatus(_ status: Int, _ text: String = "") -> Self {
    let message: Self = text.isEmpty ? [] : [.init("grpc-message", grpcPercentEncoded(text))]
    return [.init("grpc-status", String(status))] + message
  }
}

/// A gRPC length-prefixed message.
/// - Parameter claiming: the length in the prefix; the true one if nil.
package func grpcFrame(_ message: [UInt8], compressed: Bool = false, claiming: Int? = nil) -> [UInt8] {
  let length = UInt32(claiming ?? message.count)
  return [compressed ? 1 : 0] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
}

/// Percent-encodes as `grpc-message` requires: all but printable ASCII, and `%` itself.
package func grpcPercentEncoded(_ text: String) -> String {
  let digits = Array("0123456789ABCDEF")
  return text.utf8.reduce(into: "") { result, byte in
    if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
      result.unicodeScalars.append(Unicode.Scalar(byte))
    } else {
      result += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }
  }
}
