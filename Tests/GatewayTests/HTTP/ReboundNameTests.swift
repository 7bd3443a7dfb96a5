import TestSupport
import Testing

/// Requests with host names that are not the gateway's.
@Suite struct ReboundNameTests {
  /// DNS rebinding: a page's name now resolves to the gateway's address.
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
      // With credentials that etcd checks it is served, as such a page has none; so are answers that show nothing of
      // etcd's content.
      expectStatus(200, try await rebound.request("GET", "/keys?prefix=", "", headers: basic("ann:annpw")))
      expectStatus(
        200, try await rebound.request("POST", "/v3/auth/authenticate", #"{"name":"ann","password":"annpw"}"#))
      for path in ["/livez", "/readyz", "/health"] { expectStatus(200, try await rebound.request("GET", path, "")) }
    }
  }

  /// If etcd checks no credentials, those that a page makes up count as none: `fetch` and `WebSocket` let it send any.
  @Test(arguments: ["Basic \("x:y".base64)", "Bearer x", "x"])
  func credentialsThatEtcdDoesNotCheckExcuseNothing(_ credentials: String) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let rebound = OtherName(gateway: gateway, name: "rebound.example")
      let origin = [("Origin", "http://rebound.example"), ("Authorization", credentials)]
      for (method, path, body) in [
        ("POST", "/v3/kv/put", #"{"key":"eA==","value":"eA=="}"#), ("PUT", "/keys/x", "EVIL"), ("GET", "/keys/x", ""),
        ("PUT", "/keys/x", String(repeating: "EVIL", count: 20_000)), ("GET", "/snapshot", ""),
        ("GET", "/keys/x?watch=true", ""), ("POST", "/v3/watch", #"{"create_request":{"key":"eA=="}}"#),
        ("DELETE", "/keys/x", ""), ("POST", "/v3/auth/user/add", #"{"name":"m","password":"m"}"#),
      ] {
        let response = try await rebound.request(method, path, body, headers: origin)
        expectError(response, 421, code: 7, "\(method) \(path)")
      }
      let socket = try await rebound.request("GET", "/v3/kv/range", "", headers: Self.webSocket + origin)
      expectError(socket, 421, code: 7, "a WebSocket")
      expectStatus(404, try await gateway.http.get("/keys/x"))
      // Nothing changes for an allowed name, nor for answers that show nothing.
      expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "eA=="], user: "x:y"))
      expectStatus(200, try await rebound.request("GET", "/health", "", headers: origin))
      // Once etcd checks credentials, they count.
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      let user = basic(AuthFixture.root)
      expectStatus(200, try await rebound.request("POST", "/v3/kv/range", #"{"key":"eA=="}"#, headers: user))
      expectStatus(401, try await rebound.request("POST", "/v3/kv/range", #"{"key":"eA=="}"#, headers: origin))
    }
  }

  @Test func aSubprotocolExcusesNothingEither() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let rebound = OtherName(gateway: gateway, name: "rebound.example")
      let headers = Self.webSocket + [("Sec-WebSocket-Protocol", "Bearer, x"), ("Origin", "http://rebound.example")]
      expectError(try await rebound.request("GET", "/v3/kv/range", "", headers: headers), 421, code: 7, "Bearer, x")
    }
  }

  /// Behind a name of its own a gateway serves its users as under any other: every kind of request, and a client that
  /// closes its side at once.
  @Test func usersAreServedByAnyName() async throws {
    try await withAuth(.v3_5) { fixture, gateway in
      let named = OtherName(gateway: gateway, name: "etcd.example.com")
      let user = basic(AuthFixture.root)
      for number in 0..<20 {
        let value = String(repeating: "v", count: number % 2 == 0 ? 1 : 100_000)
        expectStatus(200, try await named.request("PUT", "/keys/x", value, headers: user))
        expectStatus(200, try await named.request("GET", "/keys/x", "", headers: user, halfCloses: true))
      }
      let login = try await gateway.http.post(
        "/v3/auth/authenticate", ["name": "root", "password": .string(AuthFixture.rootPassword)])
      let token = try #require(try login.json["token"]?.string)
      expectStatus(200, try await named.request("GET", "/keys/x", "", headers: [("Authorization", token)]))
      let socket = Self.webSocket + [("Sec-WebSocket-Protocol", "Bearer, \(token)")]
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let fields = socket.map { "\($0): \($1)\r\n" }.joined()
      try await connection.send("GET /v3/watch HTTP/1.1\r\nHost: etcd.example.com\r\n\(fields)\r\n")
      #expect(try await connection.receiveHead().status == 101)
    }
  }

  /// If etcd does not answer, it is unknown whether it checks credentials.
  @Test func withoutAnAnswerNothingIsServed() async throws {
    try await withScriptedEtcd(script: { _ in .failure(14, "etcdserver: no leader") }) { _, gateway in
      let rebound = OtherName(gateway: gateway, name: "rebound.example")
      let response = try await rebound.request("GET", "/keys/x", "", headers: basic("x:y"))
      // Whether the time of the request is over before the tries are is up to the machine.
      #expect([503, 504].contains(response.status), "\(response)")
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
    _ method: String, _ path: String, _ body: String, headers: [(String, String)] = [], halfCloses: Bool = false
  ) async throws -> HTTPResponse {
    let connection = try await HTTPConnection.connect(to: gateway.url)
    var head = "\(method) \(path) HTTP/1.1\r\nHost: \(name)\r\n"
    for (field, value) in headers { head += "\(field): \(value)\r\n" }
    if method != "GET" { head += "Content-Length: \(body.utf8.count)\r\n" }
    try await connection.send(head + "\r\n" + body)
    if halfCloses { await connection.finishSending() }
    let response = try await connection.receive()
    await connection.close()
    return response
  }
}
