import TestSupport
import Testing

/// HEAD is possible wherever GET is, and has the same head (RFC 9110, section 9.3.2).
@Suite(.timeLimit(.minutes(15)))
struct HeadTests {
  /// The length of answers that come from etcd anew may change each time.
  private static let paths: [(path: String, hasLength: Bool)] = [
    ("/readyz", true), ("/livez", true), ("/health", true), ("/version", true), ("/openapi.json", true),
    ("/openapi-3.0.json", true), ("/openapi.yaml", true), ("/docs/", true), ("/", false), ("/status", false),
    ("/metrics", false), ("/keys", false), ("/keys?prefix=a", false), ("/keys/a", true), ("/keys/none", false),
    ("/keys/a?wait=10m&since=1", true), ("/changes?prefix=a&wait=10m&since=1", true), ("/leases", false),
    ("/leases/7", false), ("/locks/l", false), ("/elections/e", false), ("/snapshot", false), ("/nothing", false),
    ("/v3/kv/range", false),
  ]

  /// An observation without a leader begins with its first heartbeat.
  private static let streams = [
    "/keys/a?watch=true", "/keys?prefix=a&watch=true&since=1", "/changes", "/changes?key=a",
    "/elections/e/changes?heartbeat=1s",
  ]
  private static let streamHeaders = [
    "Content-Type", "Cache-Control", "X-Accel-Buffering", "X-Content-Type-Options", "X-Etcd-Revision",
    "WWW-Authenticate",
  ]

  /// The third one's login fails again and again.
  private static let users = [nil, "root:rootpw", "root:wrong"] as [String?]
  private static let flags = ["--max-login-failures", "1000"]

  @Test(arguments: EtcdVersion.allCases)
  func headIsGetWithoutTheBody(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: Self.flags) { etcd, gateway in
      try await etcd.put("a", "value")
      for user in Self.users {
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
          try await expectNoBody(of: head, on: connection, "\(path)")
        }
      }
    }
  }

  /// The head of a stream is that with which GET begins; nothing is left at etcd.
  @Test(arguments: EtcdVersion.allCases, ["application/x-ndjson", "text/event-stream"])
  func headOfAStreamBeginsNone(_ version: EtcdVersion, _ type: String) async throws {
    try await withEtcdAndGateway(version, gateway: Self.flags) { etcd, gateway in
      try await etcd.put("a", "value")
      for user in Self.users {
        if user == "root:rootpw" { try await etcd.enableAuth(rootPassword: "rootpw") }
        // With authentication on, etcd ends each observation at once, without a reason.
        for path in Self.streams where user == nil || !path.hasPrefix("/elections") {
          let headers = [("Accept", type)] + basic(user)
          let reader = try await HTTPConnection.connect(to: gateway.url)
          try await reader.sendRequest("GET", path, headers: headers)
          let get = try await reader.receiveHead()
          await reader.close()
          let connection = try await HTTPConnection.connect(to: gateway.url)
          let head = try await connection.request("HEAD", path, headers: headers)
          #expect(head.status == (user == "root:wrong" ? 401 : 200), "\(path), \(user ?? ""): \(head.head)")
          #expect(head.status == get.status && head.body.isEmpty, "\(path), \(user ?? ""): \(get), HEAD \(head.head)")
          for name in Self.streamHeaders { #expect(head[header: name] == get[name], "\(path), \(name)") }
          try await expectNoBody(of: head, on: connection, "\(path)")
        }
      }
      try await etcd.awaitWatchers(0)
      for method in ["Watch", "Observe"] {
        _ = try await eventually("the end of every \(method)") {
          try await etcd.callsUnderWay(of: method) == 0 ? true : nil
        }
      }
    }
  }

  /// There are no bytes of a body, which would be taken for the next answer.
  private func expectNoBody(of head: HTTPResponse, on connection: HTTPConnection, _ path: String) async throws {
    if head[header: "Connection"]?.lowercased() == "close" {
      try await connection.receiveClose()
    } else {
      #expect(try await connection.get("/livez").status == 200, "\(path)")
    }
  }

  @Test func anEtcdThatIsGoneChangesNothing() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--dial-timeout", "1s"]) { gateway in
      for path in [
        "/readyz", "/livez", "/health", "/keys", "/snapshot", "/leases", "/locks/l", "/changes", "/keys/a?watch=true",
        "/keys/a?wait=10m&since=1", "/elections/e/changes",
      ] {
        let get = try await gateway.http.get(path)
        let head = try await gateway.http.request("HEAD", path)
        #expect(head.status == get.status && head.body.isEmpty, "\(path): \(get.status), HEAD \(head)")
      }
    }
  }
}
