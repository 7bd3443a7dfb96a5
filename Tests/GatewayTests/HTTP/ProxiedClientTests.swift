import Foundation
import TestSupport
import Testing

/// Clients behind reverse proxies: if the proxy is trusted, each client counts by its own address, and its pages by the
/// host and scheme of their requests; if not, nothing that the client makes up counts.
@Suite(.timeLimit(.minutes(15)))
struct ProxiedClientTests {
  private static let trust = ["--trusted-proxies", "127.0.0.1"]
  private static let forwarded = """
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;
    """

  private func location(_ gateway: String, _ directives: String) -> String {
    "location / { proxy_pass \(gateway); \(directives) }"
  }

  @Test func oneBadClientIsHeldBackAndNoOtherBehindTheSameProxy() async throws {
    try await withAuth(.v3_5, gateway: Self.trust) { fixture, gateway in
      try await withReverseProxy(.nginx(location(gateway.url, Self.forwarded), http: Self.namesClients)) { proxy in
        var refused = 0
        for number in 0..<40 where try await get(proxy, "nobody\(number):x", from: "10.9.9.9").status == 429 {
          refused += 1
        }
        #expect(refused > 0)
        // The right password at its first login.
        expectStatus(200, try await get(proxy, "ann:annpw", from: "10.0.0.2"))
      }
    }
  }

  @Test func whoIsNotTrustedIsNotBelieved() async throws {
    try await withAuth(.v3_5, gateway: ["--trusted-proxies", "10.0.0.0/8"]) { fixture, gateway in
      var refused = 0
      for number in 0..<40 {
        let lies = [("X-Forwarded-For", "192.0.2.\(number)"), ("Forwarded", "for=192.0.2.\(number)")]
        if try await gateway.get("nobody\(number):x", headers: lies).status == 429 { refused += 1 }
      }
      #expect(refused > 0)
      let lie = [("Origin", "http://evil.example"), ("X-Forwarded-Host", "evil.example")]
      expectError(try await gateway.http.post("/v3/kv/range", "{}", headers: lie), 403, code: 7)
    }
  }

  /// nginx's `$host` has no port, and `proxy_pass` alone sends the upstream's name.
  @Test(arguments: [forwarded, "proxy_set_header X-Forwarded-Host $http_host;"])
  func aPageBehindAProxyMayWriteAndNoOther(_ directives: String) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: Self.trust) { _, gateway in
      try await withReverseProxy(.nginx(location(gateway.url, directives))) { proxy in
        let body = #"{"key":"YQ==","value":"YQ=="}"#
        let own = try await proxy.http.post("/v3/kv/put", body, headers: [("Origin", proxy.url)])
        expectStatus(200, own)
        for origin in ["http://evil.example", "http://127.0.0.1", "null"] {
          let other = try await proxy.http.post("/v3/kv/put", body, headers: [("Origin", origin)])
          expectError(other, 403, code: 7, origin)
        }
      }
    }
  }

  @Test func haproxysHeadersAreUnderstood() async throws {
    try await withAuth(.v3_5, gateway: Self.trust) { fixture, gateway in
      let sections = """
          option forwardfor
          http-request set-header X-Forwarded-Proto http
          http-request set-header X-Forwarded-Host %[req.hdr(Host)]
          default_backend gateway
        backend gateway
          server one \(gateway.authority)
        """
      try await withReverseProxy(.haproxy(sections)) { proxy in
        let own = try await proxy.http.post(
          "/v3/kv/range", ["key": "YQ=="], user: "ann:annpw", headers: [("Origin", proxy.url)])
        expectStatus(200, own)
        expectStatus(401, try await proxy.http.post("/v3/kv/range", ["key": "YQ=="], user: "ann:wrong"))
        try await expectLogged("127.0.0.1", by: gateway)
      }
    }
  }

  // MARK: - The PROXY protocol

  @Test(arguments: ["send-proxy", "send-proxy-v2"])
  func haproxysGreetingIsUnderstood(_ kind: String) async throws {
    for scheme in ["http", "https"] {
      try await withAuthAndListener("proxy+\(scheme)://127.0.0.1:0") { fixture, gateway, port in
        let tls = scheme == "https" ? "ssl verify none" : ""
        let sections = """
            mode \(scheme == "https" ? "http" : "tcp")
            default_backend gateway
          backend gateway
            mode \(scheme == "https" ? "http" : "tcp")
            server one 127.0.0.1:\(port) \(kind) \(tls)
          """
        try await withReverseProxy(.haproxy(sections)) { proxy in
          expectStatus(200, try await proxy.http.post("/v3/kv/range", ["key": "YQ=="], user: "ann:annpw"))
          expectStatus(401, try await proxy.http.post("/v3/kv/range", ["key": "YQ=="], user: "ann:wrong"))
        }
      }
    }
  }

  @Test func theGreetingNamesTheClient() async throws {
    try await withAuthAndListener("proxy+http://127.0.0.1:0") { fixture, gateway, port in
      func status(_ user: String, from client: String) async throws -> Int {
        let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
        // In pieces, as it may come.
        let greeting = "PROXY TCP4 \(client) 192.0.2.1 40000 80\r\n"
        for piece in [greeting.prefix(9), greeting.dropFirst(9)] { try await connection.send(String(piece)) }
        let response = try await connection.post(
          "/v3/kv/range", ["key": "YQ=="], user: user, headers: [("X-Forwarded-For", "127.0.0.1")])
        await connection.close()
        return response.status
      }
      var statuses: Set<Int> = []
      for number in 0..<40 { statuses.insert(try await status("nobody\(number):x", from: "198.51.100.7")) }
      #expect(statuses == [401, 429])
      #expect(try await status("ann:annpw", from: "198.51.100.8") == 200)
      try await expectLogged("198.51.100.7", by: gateway)
    }
  }

  @Test(arguments: ["GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "PROXY TCP4 a b c d\r\n", "PROXY", ""])
  func withoutAGoodGreetingTheConnectionIsClosed(_ bytes: String) async throws {
    try await withAuthAndListener("proxy+http://127.0.0.1:0", ["--handshake-timeout", "500ms"]) { _, gateway, port in
      let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
      try await connection.send(bytes)
      try await connection.receiveClose()
    }
  }

  @Test func aProxyThatIsNotTrustedIsNotServedThere() async throws {
    try await withAuthAndListener("proxy+http://127.0.0.1:0", trusted: "10.0.0.1") { _, gateway, port in
      let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
      try? await connection.send("PROXY TCP4 198.51.100.7 192.0.2.1 40000 80\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
      try await connection.receiveClose()
    }
  }

  @Test func suchAnAddressNeedsProxiesThatAreTrusted() async throws {
    try await CommandRun.etcdRest("serve", "--listen", "proxy+http://127.0.0.1:0")
      .expectRefusal(naming: "--trusted-proxies")
    try await CommandRun.etcdRest("serve", "--listen", "proxy+127.0.0.1:0").expectRefusal(naming: "proxy+127.0.0.1:0")
    try await CommandRun.etcdRest("serve", "--trusted-proxies", "10.0.0.0/40").expectRefusal(naming: "10.0.0.0/40")
  }

  // MARK: - Helpers

  /// Takes the client's address from a header, instead of needing a network of clients: nginx then reports that address
  /// as its own knowledge.
  private static let namesClients = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Client;"

  private func get(_ proxy: ReverseProxy, _ user: String, from client: String) async throws -> HTTPResponse {
    try await proxy.http.post("/v3/kv/range", ["key": "YQ=="], user: user, headers: [("X-Test-Client", client)])
  }

  private func expectLogged(_ peer: String, by gateway: GatewayProcess) async throws {
    _ = try await eventually("refusal of \(peer) in the log") { gateway.log.contains("peer=\(peer) ") ? true : nil }
  }

  /// A gateway that listens on one more address, with the port of that.
  private func withAuthAndListener(
    _ address: String, _ arguments: [String] = [], trusted: String = "127.0.0.1",
    body: (AuthFixture, GatewayProcess, Int) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      var listen = ["--listen", "127.0.0.1:0", "--listen", address, "--trusted-proxies", trusted]
      if address.contains("https") {
        let authority = try TestAuthority(in: directory)
        let certificate = try authority.issue("server")
        listen += ["--tls-cert", certificate.certificate, "--tls-key", certificate.key]
      }
      try await withAuth(.v3_5, gateway: listen + arguments) { fixture, gateway in
        let port = try #require(gateway.urls.last?.split(separator: ":").last.flatMap { Int($0) })
        try await body(fixture, gateway, port)
      }
    }
  }
}
