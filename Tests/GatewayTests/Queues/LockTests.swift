import Foundation
import TestSupport
import Testing

/// `/locks` at a real etcd with authentication on, beside `etcdctl lock`.
@Suite(.timeLimit(.minutes(15)))
struct LockTests {
  private static let user = "ann:annpw"

  @Test(arguments: EtcdVersion.allCases)
  func aLockIsAcquiredRenewedAndReleased(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      let queue = QueueClient(gateway.http, "/locks/", user: Self.user)
      // All of the path is the name.
      for (path, name) in [("l", "l"), ("a/%C3%A4%2Fkeepalive", "a/ä/keepalive"), ("keepalive", "keepalive")] {
        expectError(try await queue.ask("GET", path), 404, code: 5, message: "no client holds the lock")
        let answer = try await queue.ask("POST", path, ["ttl": "60s"])
        expectStatus(200, answer)
        let held = try answer.json
        let lease = try #require(held["lease"]?.string)
        let hexadecimal = String(try #require(Int64(lease)), radix: 16)
        #expect(held["name"] == .string(name) && held["key"] == .string("\(name)/\(hexadecimal)"))
        #expect(held["ttl"] == 60 && held["revision"] != nil)
        var holder = held.object ?? [:]
        holder["ttl"] = nil
        #expect(try await queue.ask("GET", path).json == .object(holder))
        #expect(try await fixture.leases() == 1)

        let second = try await queue.ask("POST", path, ["ttl": "60s"])
        expectError(second, 409, code: 10, message: "another client holds the lock")
        // It was in no queue, not even for a moment.
        let revision = try await queue.ask("GET", path)[header: "X-Etcd-Revision"].flatMap { Double($0) }
        #expect(revision == held["revision"]?.number)
        #expect(try await queue.ask("POST", "\(path)/keepalive", ["lease": .string(lease)]).json == held)
        let other = try #require(try await queue.grant())
        let waits = try await queue.ask("POST", "\(path)/keepalive", ["lease": .string(other)])
        expectError(waits, 409, code: 10, message: "the lease \(other) does not hold the lock")
        expectError(try await queue.ask("DELETE", "\(path)?lease=\(other)"), 404, code: 5)
        expectError(try await queue.ask("POST", "\(path)/keepalive", ["lease": "5"]), 404, code: 5)

        expectStatus(200, try await queue.ask("DELETE", "\(path)?lease=\(lease)"))
        expectError(try await queue.ask("DELETE", "\(path)?lease=\(lease)"), 404, code: 5)
        expectError(try await queue.ask("POST", "\(path)/keepalive", ["lease": .string(lease)]), 404, code: 5)
        expectStatus(200, try await queue.ask("POST", path, ["ttl": 60]))
        try await fixture.revokeAll()
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoWaitsIsInTheQueueAndLeavesIt(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      let queue = QueueClient(gateway.http, "/locks/", user: Self.user)
      // etcdctl waits for the lock, and the gateway's client for etcdctl.
      let first = try #require(try await queue.ask("POST", "l", ["ttl": "60s"]).json["lease"]?.string)
      let control = try await fixture.startControl("lock", "l")
      try await fixture.awaitQueue("l", 2)
      async let third = queue.ask("POST", "l", ["ttl": "60s", "wait": "10m"])
      try await fixture.awaitQueue("l", 3)
      expectStatus(200, try await queue.ask("DELETE", "l?lease=\(first)"))
      let key = try await eventually("etcdctl's lock") { control.output.contains("l/") ? control.output : nil }
      #expect(key.contains(try await queue.ask("GET", "l").json["key"]?.string ?? "none"))
      control.signal(SIGINT)
      _ = try await control.exit()
      let held = try await third
      expectStatus(200, held)
      try await fixture.awaitQueue("l", 1)
      #expect(try await queue.ask("GET", "l").json["key"] == held.json["key"])

      // Nothing is left of those that wait in vain.
      let leases = try await eventually("the end of etcdctl's lease, which it does not revoke") { () -> Int? in
        let count = try await fixture.leases()
        return count == 1 ? count : nil
      }
      let late = try await queue.ask("POST", "l", ["ttl": "60s", "wait": "200ms"])
      expectError(late, 409, code: 10, message: "another client holds the lock, and has not released it within 200ms")
      let hasty = try await queue.ask("POST", "l", ["ttl": "60s", "wait": "10m"], [("Request-Timeout", "5")])
      expectError(hasty, 409, code: 10)
      #expect(try await fixture.leases() == leases)
      let leaving = try await HTTPConnection.connect(to: gateway.url)
      try await leaving.sendRequest(
        "POST", "/locks/l", headers: basic(Self.user), body: Array(#"{"ttl":"60s","wait":"10m"}"#.utf8))
      try await fixture.awaitQueue("l", 2)
      await leaving.close()
      try await fixture.awaitQueue("l", 1)
      _ = try await eventually("revoked lease") { try await fixture.leases() == leases ? true : nil }

      // A token that expires while its call waits.
      async let patient = queue.ask("POST", "l", ["ttl": "60s", "wait": "10m"])
      try await fixture.awaitQueue("l", 2)
      try await fixture.asRoot("/v3/auth/user/changepw", ["name": "ann", "password": "annpw"])
      let lease = try #require(try held.json["lease"]?.string)
      expectStatus(200, try await queue.ask("DELETE", "l?lease=\(lease)"))
      expectStatus(200, try await patient)
      try await fixture.awaitQueue("l", 1)

      // Users without the permission leave nothing behind.
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      let before = try await fixture.leases()
      for (user, status) in [("bob:bobpw", 403), ("ann:wrong", 401), (nil, 401)] as [(String?, Int)] {
        for name in ["l", "free"] {
          let answer = try await gateway.http.post("/locks/\(name)", ["ttl": "60s", "wait": "10s"], user: user)
          expectStatus(status, answer)
        }
      }
      #expect(try await fixture.leases() == before)
    }
  }

  /// Without authentication, too, and the gateway does not end before that.
  @Test func aGatewayThatStopsTakesWhoWaitsOutOfTheQueue() async throws {
    try await withEtcd(.v3_5) { etcd in
      func leases() async throws -> Int { try await etcd.call("/v3/lease/leases")["leases"]?.array?.count ?? 0 }
      let waiting = try await withGateway([etcd.url]) { gateway in
        expectStatus(200, try await gateway.http.post("/locks/l", ["ttl": "60s"]))
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", "/locks/l", body: Array(#"{"ttl":"60s","wait":"10m"}"#.utf8))
        _ = try await eventually("the call") { try await etcd.callsStarted(of: "Lock") == 2 ? true : nil }
        #expect(try await leases() == 2)
        return connection
      }
      #expect(try await leases() == 1)
      expectError(try await waiting.receive(), 503, code: 14, message: "the gateway is stopping")
    }
  }

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (method, path, body, name) in Self.badInput {
        let response = try await http.request(method, path, body: body.map { Array($0.utf8) })
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(path) \(body ?? ""): \(response)")
      }
      for path in ["/locks", "/elections"] { expectError(try await http.get(path), 404, code: 5) }
      for (method, path, allow) in [
        ("PUT", "/locks/l", "GET, HEAD, POST, DELETE, OPTIONS"), ("GET", "/locks/l/keepalive", "POST, OPTIONS"),
        ("POST", "/elections/e/changes", "GET, HEAD, OPTIONS"),
      ] {
        let response = try await http.request(method, path, body: [])
        expectError(response, 405, code: 12)
        #expect(response[header: "Allow"] == allow)
      }
    }
  }

  /// Method, path, body, and a part of the message.
  private static let badInput: [(String, String, String?, String)] = [
    ("POST", "/locks/", "{}", "the name of the lock is empty"),
    ("POST", "/locks//keepalive", "{}", "the name of the lock is empty"),
    ("GET", "/elections/", nil, "the name of the election is empty"),
    ("GET", "/locks/a/", nil, "the name of the lock must not end with '/'"),
    ("GET", "/locks/a%2F", nil, "the name of the lock must not end with '/'"),
    ("GET", "/locks/a%2", nil, "the name of the lock: '%'"),
    ("GET", "/locks/a?ttl=5s", nil, "unknown query parameter 'ttl'"),
    ("POST", "/locks/a?ttl=5s", #"{"ttl":"60s"}"#, "go into the body"),
    ("POST", "/locks/a", "", "unexpected end"), ("POST", "/locks/a", "{}", "'ttl' is missing"),
    ("POST", "/locks/a", #"{"ttl":"0s"}"#, #"ttl: expected a time such as "60s", "5m" or "1h", from 1s to"#),
    (
      "POST", "/locks/a", #"{"ttl":60,"wait":"601s"}"#, #"wait: expected a time such as "10s" or "5m", from 0s to 600s"#
    ),
    ("POST", "/locks/a", #"{"ttl":60,"wait":-1}"#, "wait: expected an integer from 0 to 600"),
    ("POST", "/locks/a", #"{"ttl":60,"value":"x"}"#, "value: unknown field: expected one of ttl, wait"),
    ("POST", "/locks/a/keepalive", "{}", "'lease' is missing"),
    ("POST", "/locks/a/keepalive", #"{"lease":"0"}"#, "lease: expected an integer other than 0"),
    ("DELETE", "/locks/a", nil, "lease: expected the ID"),
    ("DELETE", "/locks/a?lease=0", nil, "lease: expected the ID"),
    ("DELETE", "/elections/a?lease=x", nil, "lease: expected a number"),
    ("POST", "/elections/a", #"{"ttl":60}"#, "'value' (or 'value_base64') is missing"),
    ("PUT", "/elections/a", #"{"lease":"7"}"#, "'value' (or 'value_base64') is missing"),
    ("PUT", "/elections/a", #"{"value":""}"#, "'lease' is missing"),
    ("GET", "/elections/a/changes?heartbeat=1ms", nil, "heartbeat: expected a time"),
    ("GET", "/elections/a/changes?since=1", nil, "unknown query parameter 'since'; expected one of heartbeat"),
  ]
}

/// Requests locks, or elections.
struct QueueClient: Sendable {
  private let http: HTTPClient
  private let prefix: String
  private let user: String

  init(_ http: HTTPClient, _ prefix: String, user: String) {
    (self.http, self.prefix, self.user) = (http, prefix, user)
  }

  /// - Parameter rest: the path after the prefix: the name, and more.
  func ask(
    _ method: String, _ rest: String, _ body: JSON? = nil, _ headers: [(String, String)] = []
  ) async throws -> HTTPResponse {
    try await http.request(
      method, prefix + rest, user: user, headers: headers, body: body.map { Array($0.description.utf8) })
  }

  /// Grants a lease without keys.
  func grant() async throws -> String? {
    try await http.post("/leases", ["ttl": "60s"], user: user).json["id"]?.string
  }
}

extension AuthFixture {
  /// The keys below a name, including those of waiting clients.
  func awaitQueue(_ name: String, _ count: Int) async throws {
    let token = try await etcd.token(user: "root", password: Self.rootPassword)
    _ = try await eventually("\(count) in the queue", every: .milliseconds(30)) {
      let answer = try await etcd.call(
        "/v3/kv/range",
        ["key": .string("\(name)/".base64), "range_end": .string("\(name)0".base64), "count_only": true], token: token)
      return Int(answer["count"]?.string ?? "0") == count ? true : nil
    }
  }

  /// How many leases there are.
  func leases() async throws -> Int { try await leaseIDs().count }

  private func leaseIDs() async throws -> [JSON] {
    let token = try await etcd.token(user: "root", password: Self.rootPassword)
    return try await etcd.call("/v3/lease/leases", token: token)["leases"]?.array?.compactMap { $0["ID"] } ?? []
  }

  func revokeAll() async throws {
    for lease in try await leaseIDs() { try await asRoot("/v3/lease/revoke", ["ID": lease]) }
  }

  /// Starts etcdctl as root, which runs until it is stopped.
  func startControl(_ arguments: String...) async throws -> ChildProcess {
    try await etcd.startEtcdctl(["--user", Self.root] + arguments)
  }
}
