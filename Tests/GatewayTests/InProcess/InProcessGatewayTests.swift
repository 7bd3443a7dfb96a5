import TestSupport
import Testing

/// All kinds of requests at a gateway in this process. Other tests check the answers; here the sanitizer checks their
/// memory, as answers, refusals, and clients that disconnect come together.
@Suite(.timeLimit(.minutes(15)))
struct InProcessGatewayTests {
  private static let clients = 6
  private static let rounds = 10

  @Test(arguments: [EtcdVersion.v3_4, .v3_5])
  func requestsOfAllKindsComeTogether(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      try await withInProcessGateway([etcd.url]) { url in
        try await withThrowingTaskGroup { group in
          for client in 0..<Self.clients {
            group.addTask { try await Self.ask(url, client) }
            group.addTask { try await Self.leave(url, client) }
          }
          try await group.waitForAll()
        }
      }
    }
  }

  /// What shards share: logins and their failures, users that change, metrics, the status page, the description.
  @Test func usersComeToAllShards() async throws {
    try await withEtcd(.v3_5, ["--auth-token-ttl", "1"]) { etcd in
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      let fixture = AuthFixture(etcd: etcd)
      try await fixture.addRole()
      try await fixture.addUser("ann", password: "annpw")
      for client in 0..<Self.clients { try await fixture.addUser("c\(client)", password: "0") }
      try await withInProcessGateway([etcd.url], shards: 3) { url in
        try await withThrowingTaskGroup { group in
          for client in 0..<Self.clients { group.addTask { try await Self.logIn(url, client) } }
          try await group.waitForAll()
        }
      }
    }
  }

  /// Each round comes on connections of its own, so that it may be at any shard.
  private static func logIn(_ url: String, _ client: Int) async throws {
    let http = HTTPClient(url)
    // One each: more would be throttled.
    expectStatus(401, try await http.get("/keys/a", user: "ann:wrong"))
    for round in 0..<rounds {
      expectStatus(404, try await http.get("/keys/a", user: "ann:annpw"))
      try await expectLogin(http, "c\(client):\(round)")
      let change: JSON = ["name": .string("c\(client)"), "password": .string("\(round + 1)")]
      expectStatus(200, try await http.post("/v3/auth/user/changepw", change, user: AuthFixture.root))
      try await expectLogin(http, "c\(client):\(round + 1)")
      let login: JSON = ["name": "ann", "password": "annpw"]
      expectStatus(200, try await http.post("/v3/auth/authenticate", login))
      for path in ["/metrics", "/status", "/openapi.json"] { expectStatus(200, try await http.get(path)) }
    }
  }

  /// Expects that a user can log in. While it is busy, etcd 3.5.30 may refuse a password for some 100 ms after it has
  /// acknowledged the change to it, to its own clients as well.
  private static func expectLogin(_ http: HTTPClient, _ user: String) async throws {
    let answer = try await eventually("login", every: .milliseconds(200)) {
      let answer = try await http.get("/keys/a", user: user)
      return answer.status == 401 ? nil : answer
    }
    expectStatus(404, answer)
  }

  /// Connections on which answers of all kinds follow each other.
  private static func ask(_ url: String, _ client: Int) async throws {
    for round in 0..<rounds {
      let connection = try await HTTPConnection.connect(to: url)
      let value = [UInt8](repeating: UInt8(round), count: round * 10_000)
      let key = "/keys/c\(client)/\(round % 4)"
      expectStatus(200, try await connection.request("PUT", key, body: value))
      let read = try await connection.request("GET", key)
      #expect(read.status == 200 && read.body == value)
      for accept in ["application/json", "application/x-ndjson"] {
        let list = try await connection.request("GET", "/keys?prefix=c\(client)/", headers: [("Accept", accept)])
        #expect(list.status == 200)
      }
      #expect(try await connection.post("/v3/kv/range", "{\"key\":\"AA==\",\"range_end\":\"AA==\"}").status == 200)
      #expect(try await connection.post("/v3/kv/range", "{\"key\":7}").status == 400)
      #expect(
        try await connection.post("/txn", "{\"then\":[{\"get\":{\"prefix\":\"c\(client)/\"}}]}").status == 200)
      #expect(try await connection.request("GET", "/nowhere").status == 404)
      let lines = (0..<50).map { "{\"key\":\"i\(client)/\($0)\",\"value\":\"\(round)\"}\n" }.joined()
      let imported = try await connection.request(
        "POST", "/keys", headers: [("Content-Type", "application/x-ndjson")], body: Array(lines.utf8))
      #expect(imported.status == 200)
      await connection.close()
      let large = try await HTTPConnection.connect(to: url)
      try await large.sendRequest("PUT", key, body: [UInt8](repeating: 0, count: 3 << 20))
      #expect(try await large.receive().status == 413)
      await large.close()
    }
  }

  /// Clients that disconnect while something is on its way to them, or from them.
  private static func leave(_ url: String, _ client: Int) async throws {
    let waiting: [(method: String, path: String, body: String?)] = [
      ("GET", "/changes?prefix=c\(client)/&wait=60s", nil), ("GET", "/changes?prefix=c\(client)/", nil),
      ("POST", "/v3/watch", "{\"create_request\":{\"key\":\"AA==\",\"range_end\":\"AA==\"}}"),
      ("GET", "/keys?prefix=c", nil), ("GET", "/snapshot", nil),
      ("POST", "/locks/in-process?wait=60s", "{\"ttl\":\"60s\"}"),
    ]
    for round in 0..<rounds {
      for request in waiting {
        let connection = try await HTTPConnection.connect(to: url)
        try await connection.sendRequest(request.method, request.path, body: request.body.map { Array($0.utf8) })
        // Some have begun to read.
        if round.isMultiple(of: 3), request.path.hasPrefix("/snapshot") { _ = try await connection.receiveHead() }
        await connection.reset()
      }
      let unfinished = try await HTTPConnection.connect(to: url)
      try await unfinished.send(
        "POST /keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000\r\n\r\n"
          + "{\"key\":\"u\",\"value\":\"v\"}\n{\"key\"")
      await unfinished.reset()
      let webSocket = try await WebSocketClient.connect(url, "/v3/watch")
      try await webSocket.send("{\"create_request\":{\"key\":\"AA==\",\"range_end\":\"AA==\"}}")
      await webSocket.connection.reset()
    }
  }
}
