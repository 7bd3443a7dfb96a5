internal import COpenSSL
import Foundation

/// A client of one WebSocket (RFC 6455), driven by hand: valid frames, invalid frames, any bytes.
///
/// It answers nothing by itself, neither a ping nor a close, and accepts only frames that the RFC lets a server send.
package actor WebSocketClient {
  /// For closing, resetting or half-closing, and for its socket options.
  package nonisolated let connection: HTTPConnection
  /// The head of the response that switched protocols.
  package nonisolated let head: HTTPHead

  /// The refusal of a handshake: an HTTP response other than 101.
  package struct RequestError: Error {
    package let response: HTTPResponse
  }

  private init(_ connection: HTTPConnection, _ head: HTTPHead) {
    self.connection = connection
    self.head = head
  }

  /// Connects and does the handshake (RFC 6455, section 4.1).
  /// - Parameters:
  ///   - user: `NAME:PASSWORD` for `Authorization: Basic`.
  ///   - subprotocols: the value of `Sec-WebSocket-Protocol`, as in `["Bearer", TOKEN]`.
  ///   - headers: more headers, such as `Origin`; one with a name of the handshake's replaces that, or, if empty,
  ///     removes it.
  ///   - network: the client's network; nil for the network of this process.
  /// - Throws: `RequestError` if the answer is not 101, `HTTPFailure.malformed` if it is an invalid 101.
  package static func connect(
    _ url: String, _ path: String, user: String? = nil, subprotocols: [String] = [], headers: [(String, String)] = [],
    in network: NetworkNamespace? = nil, timeout: Duration = suiteLimit
  ) async throws -> WebSocketClient {
    let connection = try await HTTPConnection.connect(to: url, in: network)
    let key = Data((0..<16).map { _ in UInt8.random(in: 0...255) }).base64EncodedString()
    var own = [
      ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key),
    ]
    if !subprotocols.isEmpty { own.append(("Sec-WebSocket-Protocol", subprotocols.joined(separator: ", "))) }
    own.removeAll { mine in headers.contains { $0.0.lowercased() == mine.0.lowercased() } }
    let all = own + basic(user) + headers.filter { !$0.1.isEmpty }
    try await connection.sendRequest("GET", path, headers: all, timeout: timeout)

    let head = try await connection.receiveHead(timeout: timeout)
    guard head.status == 101 else {
      var body: [UInt8] = []
      while let part = try await connection.receivePart(timeout: timeout) { body += part }
      throw RequestError(response: HTTPResponse(head: head, body: body))
    }
    guard head["Upgrade"]?.lowercased() == "websocket", head["Connection"]?.lowercased() == "upgrade",
      head["Sec-WebSocket-Accept"] == acceptance(of: key), head["Sec-WebSocket-Extensions"] == nil
    else { throw HTTPFailure.malformed("handshake \(head.headers)") }
    return WebSocketClient(connection, head)
  }

  // MARK: Sending

  package func send(_ frame: WebSocketFrame, timeout: Duration = suiteLimit) async throws {
    try await connection.send(frame.encoded(), timeout: timeout)
  }

  package func send(_ text: String, timeout: Duration = suiteLimit) async throws {
    try await send(WebSocketFrame(WebSocketFrame.Opcode.text, Array(text.utf8)), timeout: timeout)
  }

  package func send(_ json: JSON, timeout: Duration = suiteLimit) async throws {
    try await send(json.description, timeout: timeout)
  }

  /// Sends a text message in fragments of `size` bytes each, which may split a character.
  package func send(_ text: String, inFragmentsOf size: Int, timeout: Duration = suiteLimit) async throws {
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: max(1, bytes.count), by: size) {
      let end = min(start + size, bytes.count)
      let opcode = start == 0 ? WebSocketFrame.Opcode.text : WebSocketFrame.Opcode.continuation
      try await send(
        WebSocketFrame(opcode, Array(bytes[start..<end]), isFinal: end == bytes.count), timeout: timeout)
    }
  }

  // MARK: Receiving

  /// The next frame, fragment or not.
  /// - Throws: `HTTPFailure.malformed` for a frame that no server may send, `.closed` at the end of the connection.
  package func receiveFrame(timeout: Duration = suiteLimit) async throws -> WebSocketFrame {
    let deadline = ContinuousClock.now + timeout
    let start = try await connection.receive(exactly: 2, timeout: timeout)
    let frame = WebSocketFrame(
      start[0] & 0xf, isFinal: start[0] & 0x80 != 0, reserved: start[0] >> 4 & 0x7, isMasked: start[1] & 0x80 != 0)
    let extended = [126: 2, 127: 8][start[1] & 0x7f] ?? 0
    var count = UInt64(start[1] & 0x7f)
    if extended > 0 {
      let bytes = try await connection.receive(exactly: extended, timeout: deadline - .now)
      count = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
    let isShortest = extended == 0 || (extended == 2 && count > 125) || (extended == 8 && count > 65535)
    let isKnown = frame.opcode <= 2 || (8...10).contains(frame.opcode)
    guard !frame.isMasked, frame.reserved == 0, isKnown, isShortest, count <= 1 << 30,
      !frame.isControl || (frame.isFinal && count <= 125)
    else { throw HTTPFailure.malformed("frame \(start) of \(count) bytes") }
    var whole = frame
    whole.payload = try await connection.receive(exactly: Int(count), timeout: deadline - .now)
    return whole
  }

  /// Fragments of a message that was interrupted by a control frame.
  private var fragments: [WebSocketFrame] = []

  /// The next message, which may be a control frame at any place.
  /// - Throws: as `receiveFrame`; `HTTPFailure.malformed` for fragments out of order and text that is not UTF-8.
  package func receive(timeout: Duration = suiteLimit) async throws -> WebSocketMessage {
    let deadline = ContinuousClock.now + timeout
    while true {
      let frame = try await receiveFrame(timeout: deadline - .now)
      switch frame.opcode {
      case WebSocketFrame.Opcode.ping: return .ping(frame.payload)
      case WebSocketFrame.Opcode.pong: return .pong(frame.payload)
      case WebSocketFrame.Opcode.close:
        guard frame.payload.count != 1 else { throw HTTPFailure.malformed("close frame of one byte") }
        return .close(code: frame.closing?.code, reason: frame.closing?.reason ?? "")
      default: break
      }
      guard (frame.opcode == WebSocketFrame.Opcode.continuation) == !fragments.isEmpty else {
        throw HTTPFailure.malformed("fragment of opcode \(frame.opcode) after \(fragments.count)")
      }
      fragments.append(frame)
      guard frame.isFinal else { continue }
      let (opcode, payload) = (fragments[0].opcode, fragments.flatMap(\.payload))
      fragments = []
      guard opcode == WebSocketFrame.Opcode.text else { return .binary(payload) }
      guard let text = String(validating: payload, as: UTF8.self) else { throw HTTPFailure.malformed("text not UTF-8") }
      return .text(text)
    }
  }

  /// The next text message as JSON.
  /// - Throws: as `receive`; `HTTPFailure.malformed` if something else comes.
  package func receiveJSON(timeout: Duration = suiteLimit) async throws -> JSON {
    let message = try await receive(timeout: timeout)
    guard case .text(let text) = message else { throw HTTPFailure.malformed("\(message) is no text") }
    return try JSON(parsing: Array(text.utf8))
  }

  /// Awaits a close frame, answers it, and awaits the end of the connection; messages before it are skipped.
  /// - Returns: the code of the server's close frame; nil if it has none.
  package func receiveClose(timeout: Duration = suiteLimit) async throws -> UInt16? {
    let deadline = ContinuousClock.now + timeout
    while true {
      guard case .close(let code, _) = try await receive(timeout: deadline - .now) else { continue }
      // The server may be gone already, if the server has found the fault.
      try? await send(.close(code ?? 1000), timeout: deadline - .now)
      try await connection.receiveClose(timeout: deadline - .now)
      return code
    }
  }

  /// Disconnects with FIN and without a close frame.
  package func close() async {
    await connection.close()
  }

  /// The value of `Sec-WebSocket-Accept` for a key (RFC 6455, section 4.2.2).
  private static func acceptance(of key: String) -> String {
    let text = Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)
    var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
    SHA1(text, text.count, &digest)
    return Data(digest).base64EncodedString()
  }
}
