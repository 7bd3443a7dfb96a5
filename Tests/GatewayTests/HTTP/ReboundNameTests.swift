import TestSupport
import Testing

/// Requests by names that are none of the gateway's.
@Suite struct ReboundNameTests {
  /// DNS rebinding: a page's name has come to mean the gateway's address.
  @Test func aPageByAnotherNameGetsNothingWithoutCredentialsOfItsOwn() async throws {
    try await withAuth(.v3_5, gateway: ["--user", AuthFixture.root]) { fixture, gateway in
      let rebound = OtherName(gateway: gateway, name: "rebound.example")
      for (method, path, body) in [
        ("PUT", "/keys/x", "EVIL"), ("GET", "/keys/x", ""), ("GET", "/keys?prefix=", ""), ("DELETE", "/keys/x", ""),
        ("POST", "/v3/kv/range", #"{"key":"eA=="}"#), ("POST", "/v3/auth/user/add", #"{"name":"m","password":"m"}"#),
        ("GET", "/keys/x?watch=true", ""), ("GET", "/keys/x?wait=1s&since=1", ""), ("GET", "/snapshot", ""),
        ("POST", "/v3/watch", #"{"create_request":{"key":"eA=="}}"#),
      ] {
        let response = try await rebound.request(method, path, body)
        expectError(response, 421, code: 7, "\(method) \(path)")
        #expect(response.message?.contains("--allowed-hosts") == true, "\(response)")
      }
      for path in ["/v3/kv/range", "/v3/watch"] {
        let refusal = try await rebound.request("GET", path, "", headers: Self.webSocket)
        expectError(refusal, 421, code: 7, path)
      }
      // With credentials it is served, as no such page has them; so is whatever tells nothing of what etcd keeps.
      expectStatus(200, try await rebound.request("GET", "/keys?prefix=", "", headers: basic("ann:annpw")))
      expectStatus(
        200, try await rebound.request("POST", "/v3/auth/authenticate", #"{"name":"ann","password":"annpw"}"#))
      for path in ["/livez", "/readyz", "/health"] { expectStatus(200, try await rebound.request("GET", path, "")) }
    }
  }

  @Test func aListedNameIsServed() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--allowed-hosts", "etcd.example,b.example"]) { _, gateway in
      for name in ["etcd.example", "b.example:80", "localhost"] {
        let other = OtherName(gateway: gateway, name: name)
        expectStatus(200, try await other.request("POST", "/v3/kv/range", #"{"key":"eA=="}"#))
      }
      let other = OtherName(gateway: gateway, name: "c.example")
      expectStatus(421, try await other.request("POST", "/v3/kv/range", #"{"key":"eA=="}"#))
    }
  }

  static let webSocket = [
    ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
  ]
}

/// A client that knows the gateway by another name.
struct OtherName {
  let gateway: GatewayProcess
  let name: String

  func request(
    _ method: String, _ path: String, _ body: String, headers: [(String, String)] = []
  ) async throws -> HTTPResponse {
    let connection = try await HTTPConnection.connect(to: gateway.url)
    var head = "\(method) \(path) HTTP/1.1\r\nHost: \(name)\r\n"
    for (field, value) in headers { head += "\(field): \(value)\r\n" }
    if method != "GET" { head += "Content-Length: \(body.utf8.count)\r\n" }
    try await connection.send(head + "\r\n" + body)
    let response = try await connection.receive()
    await connection.close()
    return response
  }
}
