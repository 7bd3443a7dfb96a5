import Foundation
import TestSupport
import Testing

/// What pages of other origins may do (Fetch Standard, "CORS protocol").
@Suite struct CrossOriginTests {
  private static let origin = "https://a.example"
  private static let range = #"{"key":"YQ=="}"#

  @Test func withoutTheFlagNothingIsSaidToAnyPage() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for response in [
        try await gateway.http.get("/health", headers: [("Origin", Self.origin)]),
        try await preflight(gateway, "/v3/kv/range", method: "POST", origin: Self.origin),
      ] {
        #expect(response.status == 200 || response.status == 204, "\(response)")
        #expect(corsHeaders(response).isEmpty && varies(response).isEmpty, "\(response.head)")
      }
    }
  }

  @Test func aListedOriginMayReadEveryAnswer() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: Self.smallLimit + ["--cors", "\(Self.origin),http://b.example:8080"]) {
      _, gateway in
      for origin in [Self.origin, "http://b.example:8080"] {
        for (method, path, body, status) in Self.requests {
          let response = try await gateway.http.request(
            method, path, headers: [("Origin", origin)], body: body.map { Array($0.utf8) })
          #expect(response.status == status, "\(method) \(path): \(response)")
          #expect(response[header: "Access-Control-Allow-Origin"] == origin, "\(method) \(path)")
          #expect(response[header: "Access-Control-Allow-Credentials"] == "true", "\(method) \(path)")
          #expect(varies(response) == ["Origin"], "\(method) \(path)")
          let exposed = response[header: "Access-Control-Expose-Headers"] ?? ""
          for name in ["ETag", "Retry-After", "WWW-Authenticate", "X-Etcd-Revision"] {
            #expect(exposed.contains(name), "\(exposed)")
          }
        }
      }
    }
  }

  private static let smallLimit = ["--max-request-bytes", "1000"]

  /// Of every kind: an RPC, a probe, errors of the router, of the server and of etcd, a stream's error.
  private static let requests: [(String, String, String?, Int)] = [
    ("POST", "/v3/kv/range", range, 200), ("GET", "/health", nil, 200), ("GET", "/nope", nil, 404),
    ("GET", "/v3/kv/range", nil, 405), ("POST", "/v3/kv/put", #"{"lease":"7"}"#, 400),
    ("POST", "/v3/kv/range", "}", 400), ("POST", "/v3/watch", "}", 400),
    ("POST", "/v3/kv/range", String(repeating: " ", count: 2000), 413), ("GET", "/snapshot", nil, 200),
  ]

  @Test func aStreamSaysTheSame() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", Self.origin]) { _, gateway in
      for origin in [Self.origin, gateway.url] {
        let stream = try await JSONStream.open(
          gateway.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#, headers: [("Origin", origin)])
        let head = try await stream.head()
        #expect(head["X-Content-Type-Options"] == "nosniff" && head["Vary"] == "Origin")
        #expect(head["Access-Control-Allow-Origin"] == (origin == Self.origin ? origin : nil))
        await stream.close()
      }
    }
  }

  @Test(arguments: ["https://c.example", "null", "http://a.example", "https://a.example:444", "https://a.example.org"])
  func anotherOriginMayChangeAndReadNothing(_ origin: String) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", Self.origin]) { _, gateway in
      // Requests that any page can make a browser send without asking first.
      let put = try await gateway.http.post(
        "/v3/kv/put", #"{"key":"YQ==","value":"Yg=="}"#, headers: [("Origin", origin), ("Content-Type", "text/plain")])
      expectError(put, 403, code: 7)
      #expect(try await gateway.http.post("/v3/kv/range", Self.range).json["kvs"] == nil)
      let response = try await gateway.http.get("/health", headers: [("Origin", origin)])
      #expect(response.status == 200 && corsHeaders(response).isEmpty, "\(response.head)")
      // A cache must not give this one to a page of the listed origin.
      #expect(varies(response) == ["Origin"])
      let preflight = try await preflight(gateway, "/v3/kv/range", method: "POST", origin: origin)
      #expect(preflight.status == 204 && corsHeaders(preflight).isEmpty, "\(preflight.head)")
    }
  }

  @Test func theGatewaysOwnPagesMayDoEverything() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for headers in [
        [("Origin", gateway.url)],
        // Behind a proxy with another name; the browser says that the origin is the same.
        [("Origin", "https://etcd.example"), ("Sec-Fetch-Site", "same-origin")],
      ] {
        expectStatus(200, try await gateway.http.post("/v3/kv/range", Self.range, headers: headers))
      }
      let sibling = [("Origin", "https://etcd.example"), ("Sec-Fetch-Site", "same-site")]
      expectError(try await gateway.http.post("/v3/kv/range", Self.range, headers: sibling), 403, code: 7)
    }
  }

  @Test func everyOriginMayReadWhatNeedsNoCredentialsOfTheBrowser() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", "*,\(Self.origin)"]) { _, gateway in
      for origin in ["https://c.example", "null"] {
        let response = try await gateway.http.post("/v3/kv/range", Self.range, headers: [("Origin", origin)])
        #expect(response[header: "Access-Control-Allow-Origin"] == "*")
        #expect(response[header: "Access-Control-Allow-Credentials"] == nil)
      }
      let listed = try await gateway.http.get("/health", headers: [("Origin", Self.origin)])
      #expect(listed[header: "Access-Control-Allow-Origin"] == Self.origin && varies(listed) == ["Origin"])
    }
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", "*"]) { _, gateway in
      let response = try await gateway.http.get("/health", headers: [("Origin", Self.origin)])
      #expect(response[header: "Access-Control-Allow-Origin"] == "*" && varies(response).isEmpty)
    }
  }

  /// What every origin may do, it may do without the browser's credentials of its user, who may know nothing of it.
  @Test func everyOriginIsNotForBasicCredentials() async throws {
    try await withAuth(.v3_5, gateway: ["--cors", "*,\(Self.origin)"]) { fixture, gateway in
      let evil = [("Origin", "https://evil.example")]
      let noCORS =
        evil + [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Content-Type", "text/plain")]
      let put = #"{"key":"YQ==","value":"RVZJTA=="}"#
      expectError(try await gateway.http.post("/v3/kv/put", put, user: "ann:annpw", headers: noCORS), 403, code: 7)
      for (method, path) in [("PUT", "/keys/a"), ("DELETE", "/keys/a")] {
        let response = try await gateway.http.request(
          method, path, user: "ann:annpw", headers: evil, body: method == "PUT" ? Array("EVIL".utf8) : nil)
        expectError(response, 403, code: 7, path)
      }
      let refusal = await #expect(throws: WebSocketClient.RequestError.self) {
        _ = try await WebSocketClient.connect(gateway.url, "/v3/kv/range", user: "ann:annpw", headers: evil)
      }
      #expect(refusal?.response.status == 403)
      #expect(try await gateway.get("ann:annpw").json["kvs"] == nil)
      // With its own token, without credentials, or if it is listed, a page may.
      let token = try await fixture.etcd.token(user: "ann", password: "annpw")
      let bearer = evil + [("Authorization", "Bearer \(token)")]
      expectStatus(200, try await gateway.http.post("/v3/kv/put", put, headers: bearer))
      expectStatus(401, try await gateway.http.post("/v3/kv/put", put, headers: evil))
      expectStatus(
        200, try await gateway.http.post("/v3/kv/put", put, user: "ann:annpw", headers: [("Origin", Self.origin)]))
      let socket = try await WebSocketClient.connect(
        gateway.url, "/v3/kv/range", subprotocols: ["Bearer", token], headers: evil)
      try await socket.send(["key": "YQ=="])
      #expect(try await socket.receiveJSON()["count"] == "1")
    }
  }

  /// Libraries that trace requests add headers that the gateway does not know.
  @Test func aListedOriginMaySendTheHeadersThatItAsksFor() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", "*,\(Self.origin)"]) { _, gateway in
      func allowed(_ headers: String, origin: String) async throws -> [String] {
        let response = try await preflight(
          gateway, "/v3/kv/range", method: "POST", origin: origin, headers: headers)
        return list(response[header: "Access-Control-Allow-Headers"]).map { $0.lowercased() }
      }
      let asked = "traceparent, tracestate,x-b3-traceid"
      #expect(try await allowed(asked, origin: Self.origin).suffix(3) == ["traceparent", "tracestate", "x-b3-traceid"])
      #expect(try await !allowed(asked, origin: "https://c.example").contains("traceparent"))
      for bad in ["a b,traceparent", "traceparent: x", "traceparent," + String(repeating: "a", count: 2000)] {
        let names = try await allowed(bad, origin: Self.origin)
        #expect(names.contains("authorization") && !names.contains("traceparent"), "\(bad): \(names)")
      }
    }
  }

  /// A preflight has no credentials, and etcd is not asked.
  @Test func preflightsTellWhatMayBeAskedFor() async throws {
    try await withAuth(.v3_5, gateway: ["--cors", Self.origin]) { fixture, gateway in
      let calls = try await fixture.etcd.metric("grpc_server_started_total")
      for (path, method) in [("/v3/kv/range", "POST"), ("/v3/watch", "POST"), ("/health", "GET"), ("/snapshot", "GET")]
      {
        let response = try await preflight(
          gateway, path, method: method, origin: Self.origin, headers: "authorization,content-type")
        #expect(response.status == 204 && response.body.isEmpty, "\(path): \(response)")
        #expect(response[header: "Access-Control-Allow-Origin"] == Self.origin, "\(path)")
        #expect(response[header: "Access-Control-Allow-Credentials"] == "true", "\(path)")
        #expect(list(response[header: "Access-Control-Allow-Methods"]).contains(method), "\(path)")
        let allowed = list(response[header: "Access-Control-Allow-Headers"]).map { $0.lowercased() }
        for name in ["authorization", "content-type", "if-match", "if-none-match", "last-event-id", "prefer"] {
          #expect(allowed.contains(name), "\(path): \(allowed)")
        }
        #expect(Int(response[header: "Access-Control-Max-Age"] ?? "") ?? 0 > 0, "\(path)")
        #expect(response[header: "Content-Type"] == nil)
      }
      #expect(try await fixture.etcd.metric("grpc_server_started_total") == calls)
      expectError(
        try await preflight(gateway, "/nope", method: "GET", origin: Self.origin), 404, code: 5, "an unknown path")
    }
  }

  @Test func optionsNameTheMethods() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for (path, methods) in [
        ("/v3/kv/range", ["POST", "OPTIONS"]), ("/health", ["GET", "HEAD", "OPTIONS"]),
        ("/snapshot", ["GET", "HEAD", "OPTIONS"]),
      ] {
        let response = try await gateway.http.request("OPTIONS", path)
        #expect(response.status == 204 && list(response[header: "Allow"]) == methods, "\(path): \(response.head)")
        #expect(response[header: "X-Content-Type-Options"] == "nosniff")
      }
    }
  }

  @Test func nothingIsSniffed() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: Self.smallLimit) { _, gateway in
      for (method, path, body, status) in Self.requests {
        let response = try await gateway.http.request(method, path, body: body.map { Array($0.utf8) })
        #expect(response.status == status, "\(method) \(path): \(response)")
        #expect(response[header: "X-Content-Type-Options"] == "nosniff", "\(method) \(path)")
      }
    }
  }

  private func preflight(
    _ gateway: GatewayProcess, _ path: String, method: String, origin: String, headers: String? = nil
  ) async throws -> HTTPResponse {
    try await gateway.http.request(
      "OPTIONS", path,
      headers: [("Origin", origin), ("Access-Control-Request-Method", method)]
        + (headers.map { [("Access-Control-Request-Headers", $0)] } ?? []))
  }

  private func corsHeaders(_ response: HTTPResponse) -> [String] {
    response.head.headers.map { $0.name.lowercased() }.filter { $0.hasPrefix("access-control-") }
  }

  private func varies(_ response: HTTPResponse) -> [String] {
    response.head.headers.filter { $0.name.lowercased() == "vary" }.map(\.value)
  }

  private func list(_ header: String?) -> [String] {
    (header ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
