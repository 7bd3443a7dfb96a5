import TestSupport
import Testing

/// HEAD is possible wherever GET is, and has the same head (RFC 9110, section 9.3.2).
@Suite(.timeLimit(.minutes(15)))
struct HeadTests {
  /// The length of answers that come from etcd anew may change each time.
  private static let paths: [(path: String, hasLength: Bool)] = [
    ("/readyz", true), ("/livez", true), ("/health", true), ("/version", true), ("/openapi.json", true),
    ("/openapi.yaml", true), ("/docs/", true), ("/", false), ("/keys", false), ("/keys?prefix=a", false),
    ("/keys/a", true), ("/keys/none", false), ("/snapshot", false), ("/nothing", false), ("/v3/kv/range", false),
  ]

  @Test(arguments: EtcdVersion.allCases)
  func headIsGetWithoutTheBody(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await etcd.put("a", "value")
      for user in [nil, "root:rootpw", "root:wrong"] as [String?] {
        if user == "root:rootpw" { try await etcd.enableAuth(rootPassword: "rootpw") }
        for (path, hasLength) in Self.paths {
          let get = try await gateway.http.get(path, user: user)
          let connection = try await HTTPConnection.connect(to: gateway.url)
          let head = try await connection.request("HEAD", path, headers: basic(user))
          #expect(head.status == get.status, "\(path), \(user ?? ""): \(get.status), HEAD \(head)")
          #expect(head.body.isEmpty)
          #expect(head[header: "Content-Type"] == get[header: "Content-Type"], "\(path)")
          if hasLength {
            #expect(head[header: "Content-Length"] == "\(get.body.count)", "\(path), \(user ?? "")")
          }
          // There are no bytes of a body, which would be taken for the next answer.
          if head[header: "Connection"]?.lowercased() == "close" {
            try await connection.receiveClose()
          } else {
            #expect(try await connection.get("/livez").status == 200, "\(path)")
          }
        }
      }
    }
  }

  @Test func anEtcdThatIsGoneChangesNothing() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--dial-timeout", "1s"]) { gateway in
      for path in ["/readyz", "/livez", "/health", "/keys", "/snapshot"] {
        let get = try await gateway.http.get(path)
        let head = try await gateway.http.request("HEAD", path)
        #expect(head.status == get.status && head.body.isEmpty, "\(path): \(get.status), HEAD \(head)")
      }
    }
  }
}
