import TestSupport
import Testing

@testable import Gateway

/// The same bytes sent directly and through Debian's proxies: no reader finds a request that another reader does not
/// find, and every key that arrives is the intended one.
@Suite(.timeLimit(.minutes(10)))
struct ProxiedHeadTests {
  enum Way: CaseIterable, Sendable {
    case nginx, haproxy

    /// To a gateway, with unchanged paths. The proxy refuses requests about the hidden key: one that arrives all the
    /// same has got past it.
    func configuration(_ gateway: GatewayProcess) -> ReverseProxy.Kind {
      let address = gateway.authority
      return switch self {
      case .nginx:
        // Connections to the gateway are kept: the rest of one request would be the beginning of the next one.
        .nginx(
          """
          location / { proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host; proxy_request_buffering off; }
          location /keys/\(HostileHead.hiddenKey) { return 403; }
          """,
          http: "upstream gateway { server \(address); keepalive 4; } ignore_invalid_headers off;")
      case .haproxy:
        .haproxy(
          """
            http-request deny if { path_beg /keys/\(HostileHead.hiddenKey) }
            default_backend gateway
          backend gateway
            http-reuse always
            server one \(address)
          """)
      }
    }
  }

  @Test(arguments: Way.allCases)
  func noWriteIsHiddenInARequest(_ way: Way) async throws {
    try await withGateways { etcd, gateway in
      try await withReverseProxy(way.configuration(gateway)) { proxy in
        for head in HostileHead.all {
          let connection = try await HTTPConnection.connect(to: proxy.url)
          let response = try await response(to: head, on: connection)
          await connection.close()
          // The proxy has understood what it passes on, and so has the gateway: it may have repaired what the other
          // refuses.
          if case .served(let status) = head.outcome, let response, response.status < 400 {
            #expect(response.status == status, "\(head) through \(way): \(response)")
          }
          // Whatever the proxy has left on its connection to the gateway comes before this request.
          let after = try await proxy.http.get("/livez")
          #expect(after.status == 200 && after.text == "ok\n", "after \(head) through \(way): \(after)")
          let hidden = try await gateway.http.get("/keys/\(HostileHead.hiddenKey)")
          #expect(hidden.status == 404, "\(head) through \(way): the hidden write was carried out")
        }
      }
    }
  }

  /// The first answer; nil if there is none.
  private func response(to head: HostileHead, on connection: HTTPConnection) async throws -> TestSupport.HTTPResponse? {
    do {
      try await connection.send(head.bytes)
      // Some of the requests are incomplete for a proxy, which waits for the rest.
      await connection.finishSending()
      return try await connection.receive(timeout: .seconds(10))
    } catch is HTTPFailure {
      return nil
    }
  }

  static let keys = [
    "/a", "/a/b", "//", "a//b", "a/../b", "./a", "%", "a%2Fb", "a+b", "a b", "a?b", "a#b", "a&b=c", "ключ", "\u{1}",
  ]

  @Test(arguments: Way.allCases)
  func keysArriveAsTheyWereMeant(_ way: Way) async throws {
    try await withGateways { _, gateway in
      try await withReverseProxy(way.configuration(gateway)) { proxy in
        for key in Self.keys {
          for path in ["/keys/\(key.percentEncoded)", "/keys?key=\(key.percentEncoded)"] {
            let written = try await proxy.http.request("PUT", path, body: Array(path.utf8))
            #expect(written.status == 200, "\(path) through \(way): \(written)")
            try await expectOnly(key, path, gateway)
          }
        }
      }
    }
  }

  /// nginx with a path in `proxy_pass` decodes the path and merges slashes: the key in the query survives that.
  @Test func aKeyInTheQuerySurvivesAProxyThatRewritesPaths() async throws {
    try await withGateways { _, gateway in
      try await withReverseProxy(.nginx("location /etcd/ { proxy_pass \(gateway.url)/; }")) { proxy in
        for key in Self.keys {
          let path = "/etcd/keys?key=\(key.percentEncoded)"
          let written = try await proxy.http.request("PUT", path, body: Array(path.utf8))
          #expect(written.status == 200, "\(path): \(written)")
          #expect(try await proxy.http.get(path).json["value"]?.string == path)
          try await expectOnly(key, path, gateway)
          let put: JSON = ["key": .string(key), "value": "posted"]
          let posted = try await proxy.http.request("POST", "/etcd/keys", body: Array(put.description.utf8))
          #expect(posted.status == 200, "\(key): \(posted)")
          try await expectOnly(key, "posted", gateway)
        }
        // docs/keys.md warns of this.
        _ = try await proxy.http.request("PUT", "/etcd/keys/%2Frenamed", body: [1])
        #expect(try await gateway.http.get("/keys/renamed").status == 200, "has nginx changed its ways?")
        _ = try await gateway.http.request("DELETE", "/keys/renamed")
        // The description's server is the address by which it was requested.
        let description = try await proxy.http.get("/etcd/openapi.json").json
        #expect(description["servers"]?.array?.first?["url"] == .string("."))
      }
    }
  }

  /// Expects that `key` is the only key, with `value`, and deletes it.
  private func expectOnly(_ key: String, _ value: String, _ gateway: GatewayProcess) async throws {
    let keys = try await gateway.http.get("/keys").json["keys"]?.array ?? []
    #expect(keys.compactMap { $0["key"]?.string } == [key], "\(value)")
    #expect(keys.first?["value"]?.string == value)
    let left = try await gateway.http.request("DELETE", "/keys?all=true")
    #expect(left.status == 200, "\(left)")
  }

  private func withGateways(_ body: (EtcdProcess, GatewayProcess) async throws -> Void) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { try await body($0, $1) }
  }
}

extension String {
  /// Every byte except letters and digits percent-encoded.
  fileprivate var percentEncoded: String {
    utf8.map { byte in
      let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
      let digits = String(byte, radix: 16, uppercase: true)
      return isPlain ? String(UnicodeScalar(byte)) : "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
  }
}
