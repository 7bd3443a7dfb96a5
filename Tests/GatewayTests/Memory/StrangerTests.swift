import TestSupport
import Testing

/// Before a large body is read, etcd is asked whether it knows the client.
@Suite(.timeLimit(.minutes(15)))
struct StrangerTests {
  private static let put = #"{"key":"YQ==","value":"\#(String(repeating: "eHh4", count: 250_000))"}"#

  @Test(arguments: EtcdVersion.allCases)
  func strangersAreAnsweredBeforeTheirBody(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1", "--max-login-failures", "5"]) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "pw")
      let kinds: [(headers: [(String, String)], statuses: Set<Int>)] = [
        ([], [401]), ([("Authorization", "Bearer abcdef.1")], [401]), (basic("root:wrong"), [401, 429]),
        (basic("nobody:pw"), [401, 429]), ([("Authorization", "Basic !")], [401]),
      ]
      let before = gateway.process.residentBytes
      var connections: [HTTPConnection] = []
      for number in 0..<100 {
        let kind = kinds[number % kinds.count]
        let connection = try await HTTPConnection.connect(to: gateway.url)
        let isChunked = number % 2 == 0
        let length = isChunked ? ("Transfer-Encoding", "chunked") : ("Content-Length", "\(2 << 20)")
        let path = number % 3 == 0 ? "/v3/watch" : "/v3/kv/put"
        try await connection.sendRequest("POST", path, headers: kind.headers + [length])
        let answer = try await connection.receive()
        #expect(kind.statuses.contains(answer.status), "\(kind.headers): \(answer)")
        connections.append(connection)
      }
      #expect(gateway.process.residentBytes - before < 32 << 20)
      for connection in connections { await connection.close() }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func usersWaitForTheirLoginAndThenSend(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      // Without authentication the bodies of all clients are accepted.
      #expect(try await gateway.http.post("/v3/kv/put", Self.put).status == 200)
      try await etcd.enableAuth(rootPassword: "pw")
      try await etcd.call(
        "/v3/auth/user/add", ["name": "ann", "password": "pw"],
        token: try await etcd.token(user: "root", password: "pw"))
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let headers = basic("root:pw") + [("Expect", "100-continue"), ("Content-Length", "\(Self.put.utf8.count)")]
      try await connection.sendRequest("POST", "/v3/kv/put", headers: headers)
      #expect(try await connection.receiveHead().status == 100)
      try await connection.send(Self.put)
      #expect(try await connection.receive().status == 200)
      // For a user without permissions the call itself is refused.
      let denied = try await gateway.http.post("/v3/kv/put", Self.put, user: "ann:pw")
      #expect(denied.status == 403, "\(denied)")
      // A token from etcd is as good.
      let token = try await etcd.token(user: "root", password: "pw")
      let bearer = try await gateway.http.post(
        "/v3/kv/put", Self.put, headers: [("Authorization", "Bearer \(token)")])
      #expect(bearer.status == 200, "\(bearer)")
      // The connection of the first goes on, and its next body is not checked.
      #expect(try await connection.post("/v3/kv/put", Self.put, user: "root:pw").status == 200)
    }
  }

  @Test func aClientThatLeavesWhileItIsAskedAboutIsForgotten() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      #expect(try await gateway.http.get("/livez").status == 200)
      let before = gateway.process.openDescriptors
      etcd.pause()
      for _ in 0..<20 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", "/v3/kv/put", headers: [("Content-Length", "1000000")])
        await connection.reset()
      }
      _ = try await eventually("the end of the connections") {
        // Connections to etcd may have come since.
        gateway.process.openDescriptors <= before + 3 ? true : nil
      }
      etcd.resume()
      #expect(try await gateway.http.post("/v3/kv/put", Self.put).status == 200)
    }
  }
}
