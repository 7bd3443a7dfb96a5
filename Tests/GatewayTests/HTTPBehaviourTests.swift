import EtcdSchema
import TestSupport
import Testing

/// The gateway's behaviour as an HTTP/1.1 server, whatever etcd answers.
@Suite struct HTTPBehaviourTests {
  private static let limit = 64 * 1024

  @Test func unknownPathsAre404() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for path in [
        "/nope", "/v3", "/v3/nope", "/v3/kv/range/", "/v3/kv/Range", "/v4/kv/range", "/v3/kv%2Frange",
        "/v3/kv/range%00",
      ] {
        for method in ["POST", "GET"] {
          let body = method == "POST" ? Array("{}".utf8) : nil
          expectError(try await connection.request(method, path, body: body), 404, code: 5, "\(method) \(path)")
        }
      }
    }
  }

  @Test func whatLeadsNowhereSaysWhereToGo() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let http = gateway.http
      for (path, words) in [
        ("/nope", ["/keys/KEY", "/openapi.json"]), ("/v2/keys/a", ["v2", "/keys/KEY"]), ("/v3/nope", ["POST"]),
      ] {
        let message = try await http.get(path).message ?? ""
        #expect(message.hasPrefix("Not Found: "), "\(message)")
        for word in words { #expect(message.contains(word), "\(path): \(message)") }
      }
      let get = try await http.get("/v3/kv/range").message ?? ""
      #expect(get.hasPrefix("Method Not Allowed: ") && get.contains("POST") && get.contains("JSON"), "\(get)")
      let patch = try await http.request("PATCH", "/keys/a").message ?? ""
      #expect(patch.contains("GET, HEAD, PUT, DELETE"), "\(patch)")
      for method in ["GET", "DELETE"] {
        let message = try await http.request(method, "/keys/a").message ?? ""
        #expect(message.hasPrefix("etcdserver: key not found; ") && message.contains("/keys?prefix="), "\(message)")
      }
    }
  }

  /// On plain resources the gateway uses its own words, and on etcd's own API etcd's.
  @Test(arguments: EtcdVersion.allCases)
  func whoeverIsAnonymousIsToldThatCredentialsAreNeeded(_ version: EtcdVersion) async throws {
    try await withAuth(version) { _, gateway in
      for path in ["/keys/a", "/keys", "/keys/a?wait=1s&since=1", "/changes?key=a", "/locks/a"] {
        let response = try await gateway.http.get(path)
        expectChallenge(response)
        expectError(response, 401, code: 16, message: "authentication required")
      }
      expectError(
        try await gateway.http.post("/v3/kv/range", ["key": "YQ=="]), 401, code: 3,
        message: "etcdserver: user name is empty")
    }
  }

  @Test func wrongMethodsAre405WithAllow() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for path in EtcdSchema().methods.filter(\.isUnary).flatMap(\.httpPaths) {
        let response = try await connection.get(path)
        expectError(response, 405, code: 12, "GET \(path)")
        #expect(response[header: "Allow"] == "POST, OPTIONS", "\(path)")
      }
      for method in ["PUT", "DELETE", "PATCH", "BREW"] {
        let response = try await connection.request(method, "/v3/kv/range", body: Array("{}".utf8))
        expectError(response, 405, code: 12, method)
        #expect(response[header: "Allow"] == "POST, OPTIONS")
      }
      for path in ["/version", "/health", "/livez", "/readyz"] {
        let response = try await connection.post(path, "{}")
        expectError(response, 405, code: 12, "POST \(path)")
        #expect(response[header: "Allow"]?.contains("GET") == true, "\(path)")
      }
    }
  }

  @Test func headHasTheHeadersOfGetAndNoBody() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for (path, status) in [("/health", 200), ("/version", 200), ("/v3/kv/range", 405), ("/nope", 404)] {
        let get = try await connection.get(path)
        let head = try await connection.request("HEAD", path)
        #expect(get.status == status && head.status == status, "\(path): \(get), \(head)")
        #expect(head[header: "Content-Length"] == get[header: "Content-Length"], "\(path)")
      }
    }
  }

  @Test func aBodyThatSaysItIsTooLargeIsRefusedUnread() async throws {
    try await withSmallLimit { gateway in
      let announced = "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: \(Self.limit + 1)\r\n"
      for more in ["\r\n", "Expect: 100-continue\r\n\r\n"] {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send(announced + more)
        let head = try await connection.receiveHead()
        #expect(head.status == 413, "\(more)")
        let body = try await connection.receivePart() ?? []
        expectError(HTTPResponse(head: head, body: body), 413, code: 8, more)
      }
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let fits = #"{"key":"YQ=="}"# + String(repeating: " ", count: Self.limit - 14)
      let response = try await connection.post("/v3/kv/range", fits)
      #expect(response.status == 200, "a body of just the limit: \(response)")
    }
  }

  @Test func aBodyOfUnknownLengthIsCounted() async throws {
    try await withSmallLimit { gateway in
      let head = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      let blank = String(repeating: " ", count: Self.limit / 4)
      let chunk = String(blank.count, radix: 16) + "\r\n" + blank + "\r\n"

      let small = try await HTTPConnection.connect(to: gateway.url)
      try await small.send(head + "e\r\n{\"key\":\"YQ==\"}\r\n" + chunk + chunk + "0\r\n\r\n")
      #expect(try await small.receive().status == 200)

      let large = try await HTTPConnection.connect(to: gateway.url)
      try await large.send(head + chunk + chunk + chunk + chunk + "1\r\n{\r\n0\r\n\r\n")
      expectError(try await large.receive(), 413, code: 8, "chunked")

      let endless = try await HTTPConnection.connect(to: gateway.url)
      try await endless.send(head)
      try await expectCut("the endless body") {
        // Over TLS, bytes after the end are accepted for 2 s, so that the client may read what came before it.
        for _ in 0..<4_000_000 { try await endless.send(chunk) }
      }
    }
  }

  @Test func compressedBodiesAre415() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for coding in ["gzip", "deflate", "br", "gzip, identity"] {
        let response = try await connection.post(
          "/v3/kv/range", #"{"key":"YQ=="}"#, headers: [("Content-Encoding", coding)])
        expectError(response, 415, code: 3, coding)
      }
      let plain = try await connection.post(
        "/v3/kv/range", #"{"key":"YQ=="}"#, headers: [("Content-Encoding", "identity")])
      #expect(plain.status == 200, "\(plain)")
    }
  }

  @Test(arguments: [18_000, 23_000, 200_000])
  func headersThatAreTooLargeAre431(_ size: Int) async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let value = String(repeating: "x", count: size)
      // If the server answers before it has read everything, it no longer accepts the rest of a large head.
      try? await connection.send("GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: \(value)\r\n\r\n")
      let response = try await connection.receive()
      #expect(response.status == 431, "\(size) bytes: \(response)")
      // Beyond its memory for a connection libmicrohttpd answers by itself, in HTML.
      if size < 24 * 1024 { expectError(response, 431, code: 3, "\(size) bytes") }
    }
  }

  @Test func anyContentTypeAndAnEmptyBodyWillDo() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for type in [
        nil, "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain",
        "?",
      ] {
        let response = try await connection.post(
          "/v3/kv/range", #"{"key":"YQ=="}"#, headers: type.map { [("Content-Type", $0)] } ?? [])
        #expect(response.status == 200, "\(type ?? "none"): \(response)")
        #expect(response[header: "Content-Type"]?.hasPrefix("application/json") == true)
      }
      let members = try await connection.post("/v3/cluster/member/list", "")
      #expect(members.status == 200, "\(members)")
      let withoutLength = try await connection.request("POST", "/v3/cluster/member/list")
      #expect(withoutLength.status == 200, "\(withoutLength)")
    }
  }

  @Test func pipelinedRequestsAreAnsweredInTheirOrder() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      var requests = ""
      for index in 0..<50 {
        let body = #"{"TTL":"600","ID":"\#(index + 1)"}"#
        requests += "POST /v3/lease/grant HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        if index % 5 == 0 { requests += "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" }
      }
      try await connection.send(requests)
      for index in 0..<50 {
        let response = try await connection.receive()
        #expect(try response.json["ID"] == .string(String(index + 1)), "\(response)")
        if index % 5 == 0 { #expect(try await connection.receive().status == 404) }
      }
    }
  }

  @Test func connectionsAreKeptUntilSomebodyCloses() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let kept = try await HTTPConnection.connect(to: gateway.url)
      for _ in 0..<100 { #expect(try await kept.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200) }

      let closing = try await HTTPConnection.connect(to: gateway.url)
      let last = try await closing.post("/v3/kv/range", #"{"key":"YQ=="}"#, headers: [("Connection", "close")])
      #expect(last.status == 200 && last[header: "Connection"]?.lowercased() == "close", "\(last)")
      try await closing.receiveClose()

      let old = try await HTTPConnection.connect(to: gateway.url)
      try await old.send("GET /livez HTTP/1.0\r\n\r\n")
      #expect(try await old.receive().status == 200)
      try await old.receiveClose()
    }
  }

  @Test func requestsMayComeByteByByte() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let body = #"{"key":"YQ=="}"#
      for byte in "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8 {
        try await connection.send([byte])
      }
      #expect(try await connection.receive().status == 200)
    }
  }

  /// Requests with more than one meaning: behind a proxy that reads another one, one request can hide another (RFC
  /// 9112, section 11.2).
  @Test(arguments: [
    "nonsense\r\n\r\n", "GET\r\n\r\n",
    "GET /livez HTTP/1.1\r\n\r\n",
    "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\n{}",
    "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
  ])
  func ambiguousRequestsAreRefused(_ bytes: String) async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(bytes)
      do {
        let head = try await connection.receiveHead()
        #expect([400, 501].contains(head.status))
        // The body is libmicrohttpd's own; what matters is that nothing else is read from this connection.
        _ = try await connection.receiveToEnd()
      } catch HTTPFailure.closed, HTTPFailure.reset {
        // Closing the connection without an answer is as good.
      }
      #expect(try await gateway.http.get("/livez").status == 200)
    }
  }

  private func withSmallLimit(_ body: (GatewayProcess) async throws -> Void) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-request-bytes", "\(Self.limit)"]) { try await body($1) }
  }
}

/// Expects an error in the form that all errors have.
func expectError(
  _ response: HTTPResponse, _ status: Int, code: Int, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(response.status == status, "\(what): \(response)", sourceLocation: sourceLocation)
  #expect(
    response[header: "Content-Type"]?.hasPrefix("application/json") == true, "\(what)", sourceLocation: sourceLocation)
  let json = try? response.json
  #expect(json?["code"] == .number(Double(code)), "\(what): \(response)", sourceLocation: sourceLocation)
  #expect(json?["message"]?.string?.isEmpty == false, "\(what): \(response)", sourceLocation: sourceLocation)
  #expect(json?["error"] == json?["message"], "\(what): \(response)", sourceLocation: sourceLocation)
}
