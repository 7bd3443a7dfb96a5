import ByteBuffers

/// A client's request to switch to a WebSocket (RFC 6455, section 4.2.1), collected from the headers.
package struct WebSocketHandshake {
  /// The result of a valid handshake.
  package struct Acceptance {
    /// Header fields of the answer, besides `Connection`.
    package var headers: HTTPResponse.Headers
    /// The token that came as a subprotocol, because browsers let scripts set no other header.
    package var token: [UInt8]?
  }

  private var keys: [String] = []
  private var versions: [String] = []
  private var connection: [Substring.UTF8View] = []
  private var upgrade: [Substring.UTF8View] = []
  private var protocols: [Substring.UTF8View] = []
  private var origins: [String] = []
  private var hasAuthorization = false

  package init() {}

  /// Takes a header. Several headers with one name are one list (RFC 9110, section 5.3).
  package mutating func take(name: String, value: String) {
    switch name.lowercased() {
    case "connection": connection += value.utf8.listElements
    case "upgrade": upgrade += value.utf8.listElements
    case "sec-websocket-key": keys.append(value)
    case "sec-websocket-version": versions.append(value)
    case "sec-websocket-protocol": protocols += value.utf8.listElements
    case "origin": origins.append(value)
    case "authorization": hasAuthorization = true
    default: break
    }
  }

  /// Whether an `Upgrade` header names a WebSocket, so that the request is not an ordinary one.
  static func isAskedFor(by upgrade: HeadBytes) -> Bool {
    upgrade.listElements.contains { $0.isNamed("websocket") }
  }

  /// Checks all headers that were taken.
  ///
  /// - Parameters:
  ///   - host: the host in the client's request.
  ///   - isSecure: whether the client uses TLS.
  ///   - usesBasic: whether the request has a user and password: a page cannot have set these, so its browser has.
  ///   - allowed: the origins whose pages may open a WebSocket.
  /// - Throws: ``RequestError`` if the request violates the RFC, or comes from a page that may open none.
  package func accept(
    isHTTP10: Bool, host: String, isSecure: Bool, usesBasic: Bool, origins allowed: AllowedOrigins
  ) throws(RequestError) -> Acceptance {
    if isHTTP10 { throw .badRequest("a WebSocket needs HTTP/1.1") }
    guard upgrade.contains(where: { $0.isNamed("websocket") }) else {
      throw .badRequest("the Upgrade header does not name websocket")
    }
    guard connection.contains(where: { $0.isNamed("upgrade") }) else {
      throw .badRequest(
        "the Connection header does not name Upgrade; a proxy on the way may not be set up for WebSockets")
    }
    guard versions == ["13"] else {
      throw RequestError(
        426, "the only supported version of WebSocket is 13",
        headers: [("Sec-WebSocket-Version", "13")])
    }
    guard keys.count == 1, Self.isKey(keys[0]) else {
      throw .badRequest("Sec-WebSocket-Key: expected the base64 of 16 bytes, once")
    }
    if let origin = origins.first {
      let access = origins.count == 1 ? allowed.changes(of: origin, host: host, isSecure: isSecure) : .nothing
      if access == .nothing {
        throw RequestError(
          403, "pages of this origin may not open WebSockets here (--cors lists those that may)")
      }
      if access == .anonymous && usesBasic { throw CrossOrigin.usesBasic }
    }
    var acceptance = Acceptance(
      headers: [("Upgrade", "websocket"), ("Sec-WebSocket-Accept", Self.answer(to: keys[0]))])
    // Names of subprotocols are case-sensitive, and the answer must name one that was offered.
    if protocols.first?.elementsEqual("Bearer".utf8) == true {
      guard protocols.count == 2 else {
        throw .badRequest("Sec-WebSocket-Protocol: expected one token after Bearer")
      }
      // A proxy in front of the gateway may have used the other credentials.
      guard !hasAuthorization else {
        throw .badRequest("the request has a token as its subprotocol and an Authorization header")
      }
      guard let token = AuthorizationField.token(ofSubprotocol: protocols[1]) else {
        throw .badRequest(
          "Sec-WebSocket-Protocol: expected a token and nothing else after Bearer: no scheme, no blank")
      }
      acceptance.token = token
      acceptance.headers.append(("Sec-WebSocket-Protocol", "Bearer"))
    }
    return acceptance
  }

  private static func isKey(_ key: String) -> Bool {
    // Sixteen bytes are 22 characters and the padding.
    guard key.utf8.count == 24, key.hasSuffix("==") else { return false }
    var bytes = [UInt8](repeating: 0, count: 18)
    return Array(key.utf8).withUnsafeBufferPointer { text in
      bytes.withUnsafeMutableBytes { Base64.decode(text, into: $0) }
    } == 16
  }

  /// Proves that a server that supports WebSockets has read the key (section 4.2.2, item 5.4).
  private static func answer(to key: String) -> String {
    Base64Digest.sha1(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
  }
}
