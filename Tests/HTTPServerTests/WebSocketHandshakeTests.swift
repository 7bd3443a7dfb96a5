import Testing

@testable import HTTPServer

@Suite struct WebSocketHandshakeTests {
  private static let good = [
    ("Host", "example.com:8379"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
  ]

  /// The result for the headers of a valid handshake, some of which are replaced; nil removes one.
  private func accept(
    _ changes: [(String, String?)] = [], isHTTP10: Bool = false, isSecure: Bool = false, usesBasic: Bool = false,
    origins: String = ""
  ) throws -> WebSocketHandshake.Acceptance {
    var handshake = WebSocketHandshake()
    for (name, value) in Self.good where !changes.contains(where: { $0.0 == name }) {
      handshake.take(name: name, value: value)
    }
    for (name, value) in changes { if let value { handshake.take(name: name, value: value) } }
    let host = changes.last { $0.0 == "Host" }?.1 ?? Self.good[0].1
    return try handshake.accept(
      isHTTP10: isHTTP10, host: host, isSecure: isSecure, usesBasic: usesBasic,
      origins: try #require(AllowedOrigins(origins)))
  }

  private func status(
    _ changes: [(String, String?)], isHTTP10: Bool = false, isSecure: Bool = false, usesBasic: Bool = false,
    origins: String = ""
  ) -> UInt32 {
    do {
      _ = try accept(changes, isHTTP10: isHTTP10, isSecure: isSecure, usesBasic: usesBasic, origins: origins)
      return 101
    } catch { return (error as? RequestError)?.status ?? 0 }
  }

  @Test func theKeyOfTheRFCIsAnsweredAsThere() throws {
    let acceptance = try accept()
    #expect(acceptance.headers.map(\.value) == ["websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="])
    #expect(acceptance.token == nil)
  }

  @Test func listsMayBeInAnyCaseAndInParts() throws {
    _ = try accept([("Connection", "keep-alive"), ("Connection", "TE , upGRADE"), ("Upgrade", "h2c, WebSocket")])
  }

  @Test(
    arguments: [
      ("Connection", nil), ("Connection", "keep-alive"), ("Connection", "upgraded"), ("Upgrade", "h2c"),
      ("Sec-WebSocket-Key", nil), ("Sec-WebSocket-Key", ""), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"), ("Sec-WebSocket-Key", "!GhlIHNhbXBsZSBub25jZQ=="),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWFh"),
    ] as [(String, String?)])
  func whatIsMissingIsSaid(_ name: String, _ value: String?) {
    #expect(status([(name, value)]) == 400)
  }

  @Test func twoKeysAreOneTooMany() {
    #expect(status([("Sec-WebSocket-Key", Self.good[4].1), ("Sec-WebSocket-Key", Self.good[4].1)]) == 400)
  }

  @Test func httpOneZeroKnowsNoUpgrade() { #expect(status([], isHTTP10: true) == 400) }

  @Test(arguments: [nil, "8", "12", "14", "13, 8"] as [String?])
  func theVersionIsThirteen(_ version: String?) throws {
    do {
      _ = try accept([("Sec-WebSocket-Version", version)])
      Issue.record("accepted")
    } catch let refusal as RequestError {
      #expect(refusal.status == 426)
      #expect(refusal.headers.map(\.value) == ["13"])
    }
  }

  @Test func aTokenMayComeAsASubprotocol() throws {
    let acceptance = try accept([("Sec-WebSocket-Protocol", "Bearer, abc.123")])
    #expect(acceptance.token == Array("abc.123".utf8))
    #expect(acceptance.headers.last?.value == "Bearer")
    let parts = try accept([("Sec-WebSocket-Protocol", "Bearer"), ("Sec-WebSocket-Protocol", "t")])
    #expect(parts.token == Array("t".utf8))
    // No supported one: the client continues without.
    #expect(try accept([("Sec-WebSocket-Protocol", "chat, superchat")]).headers.count == 2)
    #expect(status([("Sec-WebSocket-Protocol", "Bearer")]) == 400)
    #expect(status([("Sec-WebSocket-Protocol", "Bearer, a, b")]) == 400)
    #expect(status([("Sec-WebSocket-Protocol", "Bearer, a"), ("Authorization", "b")]) == 400)
  }

  /// A token is not read like a header's value: what is valid there is none here.
  @Test(arguments: ["Basic dTpw", "Bearer abc", "basic", "BEARER", "a b", "a\tb", "\u{e4}", "a\u{7f}"])
  func aTokenIsATokenAndNothingElse(_ token: String) {
    #expect(status([("Sec-WebSocket-Protocol", "Bearer, \(token)")]) == 400)
  }

  @Test(arguments: [
    ("http://example.com:8379", "", 101), ("https://EXAMPLE.com:8379", "", 101), ("http://example.com", "", 403),
    ("http://evil.example", "", 403), ("http://example.com:8379.evil.example", "", 403), ("null", "", 403),
    ("", "", 403),
    ("ftp://example.com:8379", "", 403), ("http://evil.example", "*", 101), ("null", "*", 101),
    ("https://app.example", "http://x.example, https://App.example:443", 101),
    ("http://app.example", "http://x.example,https://app.example", 403),
    ("http://x.example:80", "http://x.example,https://app.example", 101),
  ])
  func pagesOfOtherOriginsMustBeListed(_ origin: String, _ listed: String, _ expected: UInt32) {
    #expect(status([("Origin", origin)], origins: listed) == expected)
  }

  /// A page cannot set the header of a WebSocket: its browser has set it.
  @Test func everyOriginIsAllowedWithoutBasicCredentialsOnly() {
    let evil = ("Origin", "https://evil.example")
    #expect(status([evil], usesBasic: true, origins: "*") == 403)
    #expect(status([evil], usesBasic: true, origins: "*,https://evil.example") == 101)
    #expect(status([("Origin", "http://example.com:8379")], usesBasic: true, origins: "*") == 101)
    #expect(status([evil, ("Sec-WebSocket-Protocol", "Bearer, abc")], origins: "*") == 101)
  }

  @Test func theStandardPortNeedNotBeNamed() {
    #expect(status([("Host", "a.example"), ("Origin", "https://a.example")]) == 101)
    #expect(status([("Host", "a.example:80"), ("Origin", "http://a.example")]) == 101)
    #expect(status([("Host", "a.example"), ("Origin", "https://a.example:443")]) == 101)
    #expect(status([("Host", "a.example:80"), ("Origin", "https://a.example")]) == 403)
  }

  /// If TLS ends before the gateway, the gateway does not see which scheme the page has.
  @Test func overTLSThePageMustHaveComeOverTLS() {
    let (secure, plain) = (("Origin", "https://example.com:8379"), ("Origin", "http://example.com:8379"))
    #expect(status([secure]) == 101)
    #expect(status([plain]) == 101)
    #expect(status([secure], isSecure: true) == 101)
    #expect(status([plain], isSecure: true) == 403)
    #expect(status([plain], isSecure: true, origins: "http://example.com:8379") == 101)
  }

  @Test func severalOriginsAreNone() {
    #expect(status([("Origin", "http://example.com:8379"), ("Origin", "http://example.com:8379")]) == 403)
  }

  @Test(arguments: ["a.example", "http://", "http://a.example/", "http://a b,http//c", "https://*.a.example", "null"])
  func whatIsNoOriginCannotBeListed(_ list: String) { #expect(AllowedOrigins(list) == nil) }
}
