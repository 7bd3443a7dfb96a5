import TestSupport
import Testing

@testable import Gateway

/// The same bytes sent straight and through Debian's proxies: no request is in there for one reader that is not for the
/// other, and every key that arrives is the key that was meant.
@Suite(.timeLimit(.minutes(10)))
struct ProxiedHeadTests {
  enum Way: CaseIterable, Sendable {
    case nginx, haproxy

    /// To a gateway, with paths left as they are. The proxy refuses what it takes for a request about the hidden key:
    /// what gets there all the same has got past it.
    func configuration(_ gateway: GatewayProcess) -> ReverseProxy.Kind {
      let address = gateway.authority
      return switch self {
      case .nginx:
        // Connections to the gateway are kept: what is left of one request would be the next one's beginning.
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
          // What the proxy passes on it has understood, and so has the gateway: what one refuses the other may have
          // mended.
          if case .served(let status) = head.outcome, let response, response.status < 400 {
            #expect(response.status == status, "\(head) through \(way): \(response)")
          }
          // Whatever the proxy has left on its connection to the gateway is before this request.
          let after = try await proxy.http.get("/livez")
          #expect(after.status == 200 && after.text == "ok\n", "after \(head) through \(way): \(after)")
          let hidden = try await gateway.http.get("/keys/\(HostileHead.hiddenKey)")
          #expect(hidden.status == 404, "\(head) through \(way): the hidden write was carried out")
        }
      }
    }
  }

  /// The first answer; nil where there is none.
  private func response(to head: HostileHead, on connection: HTTPConnection) async throws -> TestSupport.HTTPResponse? {
    do {
      try await connection.send(head.bytes)
      // Some of the requests are not whole for a proxy, which waits for the rest.
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
        // What docs/keys.md warns of.
        _ = try await proxy.http.request("PUT", "/etcd/keys/%2Frenamed", body: [1])
        #expect(try await gateway.http.get("/keys/renamed").status == 200, "has nginx changed its ways?")
        _ = try await gateway.http.request("DELETE", "/keys/renamed")
        // The description's server is where the description is.
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
  /// Every byte but letters and digits percent-encoded.
  fileprivate var percentEncoded: String {
    utf8.map { byte in
      let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
      let digits = String(byte, radix: 16, uppercase: true)
      return isPlain ? String(UnicodeScalar(byte)) : "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
  }
}
