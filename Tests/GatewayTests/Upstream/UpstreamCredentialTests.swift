import EtcdSchema
import Foundation
import Synchronization
import TestSupport
import Testing

/// Logins and tokens as a member of etcd sees them.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamCredentialTests {
  private let key: JSON = ["key": .string("a".base64)]

  @Test func authenticateHasAConnectionOfItsOwn() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { peer, gateway in
      for user in ["ann:1", "ben:2", "cleo:3", nil] {
        for _ in 0..<3 {
          expectStatus(200, try await gateway.http.post("/v3/kv/range", key, user: user))
        }
      }
      let login: JSON = ["name": "ann", "password": "1"]
      expectStatus(200, try await gateway.http.post("/v3/auth/authenticate", login, user: "ann:1"))
      let record = peer.record
      let authConnections = Set(record.streams(of: RPCPath.authenticate).map(\.connection))
      #expect(authConnections.count == 1)
      for stream in record.streams where authConnections.contains(stream.connection) {
        #expect(stream.path == RPCPath.authenticate)
      }
      #expect(record.streams(of: RPCPath.authenticate).count == 4)
      #expect(record.streams(of: RPCPath.range).count == 12)
    }
  }

  /// Each read is a call of its own here, so that calls can be counted.
  @Test func aTokenTravelsWithEachCallOfItsUserAndNoOther() async throws {
    try await withScriptedEtcd(gateway: ["--max-batch", "1"], script: { _ in .range }) { peer, gateway in
      let users: [String?] = ["ann", "ben", "cleo", nil]
      try await withThrowingTaskGroup { group in
        for user in users {
          for _ in 0..<8 {
            group.addTask {
              let connection = try await HTTPConnection.connect(to: gateway.url)
              for _ in 0..<5 {
                let body: JSON = ["key": .string((user ?? "nobody").base64)]
                let response = try await connection.post("/v3/kv/range", body, user: user.map { "\($0):secret" })
                #expect(response.status == 200)
              }
            }
          }
        }
        try await group.waitForAll()
      }
      let ranges = peer.record.streams(of: RPCPath.range)
      #expect(ranges.count == 160)
      for stream in ranges {
        let request = try Etcdserverpb_RangeRequest(serializedBytes: stream.messages[0])
        let user = String(decoding: request.key, as: UTF8.self)
        let owner = stream.headers["token"].map { $0.prefix { $0 != "." } }
        #expect(owner ?? "nobody" == user)
        #expect(stream.headers.count { $0.name == "token" } == (user == "nobody" ? 0 : 1))
      }
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 3)
    }
  }

  @Test(arguments: [
    (16, "etcdserver: invalid auth token"),
    (3, "etcdserver: revision of auth store is old"),
    (3, "etcdserver: user name is empty"),
  ])
  func aTokenIsRenewedOnceAndTheCallRepeatedOnce(code: Int, message: String) async throws {
    try await withScriptedEtcd(script: { call in
      call.headers["token"] == "ann.1" ? .failure(code, message) : .put
    }) { peer, gateway in
      let body: JSON = ["key": .string("a".base64), "value": .string("b".base64)]
      expectStatus(200, try await gateway.http.post("/v3/kv/put", body, user: "ann:secret"))
      let record = peer.record
      #expect(record.streams(of: RPCPath.put).map { $0.headers["token"] } == ["ann.1", "ann.2"])
      #expect(record.streams(of: RPCPath.put)[0].messages == record.streams(of: RPCPath.put)[1].messages)
      #expect(record.streams(of: RPCPath.authenticate).count == 2)
      expectStatus(200, try await gateway.http.post("/v3/kv/put", body, user: "ann:secret"))
      #expect(peer.record.streams.count == 5)
    }
  }

  @Test(arguments: [
    // A member may not know the new token yet: it is tried eight times more.
    (16, "etcdserver: invalid auth token", 401, 10),
    (3, "etcdserver: revision of auth store is old", 400, 2),
    (3, "etcdserver: user name is empty", 400, 2),
  ])
  func aSignThatRepeatsEndsTheCall(code: Int, message: String, status: Int, calls: Int) async throws {
    try await withScriptedEtcd(script: { _ in .failure(code, message) }) { peer, gateway in
      let response = try await gateway.http.post("/v3/kv/put", key, user: "ann:secret")
      expectError(response, status, code: code, message: message)
      #expect(peer.record.streams(of: RPCPath.put).count == calls)
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 2)
    }
  }

  @Test func manyCallsWithOneStaleTokenCostOneLogin() async throws {
    let gate = ScriptedPeer.Gate()
    try await withScriptedEtcd(script: { call in
      call.headers["token"] == "ann.1"
        ? ScriptedPeer.Answer.failure(16, "etcdserver: invalid auth token").after(gate) : .put
    }) { peer, gateway in
      try await withThrowingTaskGroup { group in
        for _ in 0..<50 {
          group.addTask {
            let response = try await gateway.http.post("/v3/kv/put", key, user: "ann:secret")
            #expect(response.status == 200, "\(response)")
          }
        }
        try await peer.wait(for: "all calls with the first token") { $0.streams(of: RPCPath.put).count == 50 }
        gate.open()
        try await group.waitForAll()
      }
      #expect(peer.record.streams(of: RPCPath.put).count == 100)
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 2)
    }
  }

  /// A shard that has not noticed a renewal must not be given a token that has become stale as well.
  @Test func everyShardRecoversFromTwoRestartsOfEtcd() async throws {
    let firstGood = Mutex(1)
    try await withScriptedEtcd(
      gateway: ["--shards", "2"],
      script: { call in
        let number = call.headers["token"].flatMap { Int($0.dropFirst("ann.".count)) } ?? 0
        return firstGood.withLock { number >= $0 } ? .put : .failure(16, "etcdserver: invalid auth token")
      }
    ) { peer, gateway in
      var connections: [HTTPConnection] = []
      for _ in 0..<10 { connections.append(try await HTTPConnection.connect(to: gateway.url)) }
      func put(on connection: HTTPConnection) async throws {
        expectStatus(200, try await connection.post("/v3/kv/put", key, user: "ann:secret"))
      }
      func loseTokens() {
        let known = peer.record.streams(of: RPCPath.authenticate).count
        firstGood.withLock { $0 = known + 1 }
      }
      for connection in connections { try await put(on: connection) }
      // Half of them belong to another shard than the first one.
      for connection in connections.dropFirst() {
        loseTokens()
        try await put(on: connections[0])
        loseTokens()
        try await put(on: connection)
      }
    }
  }

  @Test func aTokenOfTheClientsOwnIsPassedOnAndNeverRenewed() async throws {
    try await withScriptedEtcd(script: { call in
      call.headers["token"] == "good.1" ? .put : .failure(16, "etcdserver: invalid auth token")
    }) { peer, gateway in
      for authorization in ["good.1", "Bearer good.1", "bearer good.1"] {
        let response = try await gateway.http.post("/v3/kv/put", key, headers: [("Authorization", authorization)])
        #expect(response.status == 200, "\(authorization): \(response)")
      }
      let response = try await gateway.http.post("/v3/kv/put", key, headers: [("Authorization", "Bearer bad.1")])
      expectError(response, 401, code: 16, message: "etcdserver: invalid auth token")
      #expect(
        peer.record.streams(of: RPCPath.put).map { $0.headers["token"] } == ["good.1", "good.1", "good.1", "bad.1"])
      #expect(peer.record.streams(of: RPCPath.authenticate).isEmpty)
    }
  }

  @Test func nothingElseOfARequestBecomesMetadata() async throws {
    try await withScriptedEtcd(script: { _ in .put }) { peer, gateway in
      let smuggled = [
        ("Grpc-Metadata-token", "root.1"), ("Grpc-Metadata-Authorization", "root.1"), ("token", "root.1"),
        ("Grpc-Metadata-hasleader", "true"), ("grpcgateway-authorization", "root.1"), ("Cookie", "token=root.1"),
        ("X-Forwarded-For", "root.1"), ("grpc-status", "0"), ("User-Agent", "root.1"),
      ]
      for user in ["ann:secret", nil] {
        expectStatus(200, try await gateway.http.post("/v3/kv/put", key, user: user, headers: smuggled))
      }
      let puts = peer.record.streams(of: RPCPath.put)
      #expect(puts.map { $0.headers["token"] } == ["ann.1", nil])
      for stream in peer.record.streams {
        #expect(!stream.headers.contains { $0.value.contains("root") || $0.name == "hasleader" }, "\(stream.headers)")
      }
    }
  }

  @Test func theTokenIsInNoLogAndNoError() async throws {
    try await withScriptedEtcd(
      gateway: ["--log-level", "trace"],
      script: { _ in .failure(16, "etcdserver: invalid auth token") }
    ) { peer, gateway in
      let response = try await gateway.http.post("/v3/kv/put", key, user: "unmistakable:drowssap")
      expectError(response, 401)
      #expect(peer.record.streams(of: RPCPath.put).last?.headers["token"] == "unmistakable.2")
      for token in ["unmistakable.1", "unmistakable.2", "drowssap", "drowssap".base64, "unmistakable:drowssap".base64] {
        #expect(!response.text.contains(token))
        #expect(!gateway.log.contains(token))
        #expect(!gateway.process.output.contains(token))
      }
    }
  }
}
