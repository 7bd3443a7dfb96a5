import TestSupport
import Testing

/// Watches outlive the members that serve them.
@Suite(.timeLimit(.minutes(15)))
struct WatchSurvivalTests {
  private static let timers = ["--heartbeat-interval", "100", "--election-timeout", "1000"]

  /// Three members die and come back in turn, under writers: every watch sees every acknowledged revision exactly once
  /// and in order, and none is closed.
  @Test(arguments: EtcdVersion.allCases, [false, true])
  func watchesSurviveEveryMemberInTurn(_ version: EtcdVersion, isGuarded: Bool) async throws {
    try await withEtcdCluster(version, members: 3, Self.timers) { members in
      var user: String?
      if isGuarded {
        // Simple tokens are lost with the member that issued them.
        try await members[0].enableAuth(rootPassword: AuthFixture.rootPassword)
        user = AuthFixture.root
      }
      let credentials = user
      try await withGateway(members.map(\.url), shardArguments) { gateway in
        let range: JSON = ["range_end": .string("w0".base64)]
        let created = try await WatchReader.open(20) { number in
          var request = range
          // Some are shared, some have a watcher of their own from the start.
          if number % 4 == 0 { request["start_revision"] = "2" }
          if number % 4 == 1 { request["filters"] = ["NODELETE"] }
          return try await .open(gateway.url, key: "w/", request, user: credentials)
        }
        let first = created.map(\.createdRevision).max() ?? 0
        var acknowledged: [Int] = []
        try await Writers.run(
          8, to: gateway.url, user: user, pause: .milliseconds(20), key: { "w/\($0)" }
        ) { writers in
          for member in members {
            try await writers.awaitMore(50)
            await member.kill()
            try await writers.awaitMore(50)
            try await member.start()
          }
          try await writers.awaitMore(50)
          acknowledged = writers.acknowledged
        }
        let last = try await lastPut(gateway, user)
        let seen = try await withThrowingTaskGroup(of: [Int].self) { group in
          for reader in created { group.addTask { try await reader.revisions(through: last) } }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        for revisions in seen {
          #expect(zip(revisions, revisions.dropFirst()).allSatisfy { $0 < $1 }, "not in order: \(revisions.disorder)")
          let missing = Set(acknowledged).filter { $0 > first }.subtracting(revisions)
          #expect(missing.isEmpty, "missing: \(missing.sorted().prefix(10))")
        }
        // A write that was not acknowledged is seen by all watches or by none.
        #expect(Set(seen.map { $0.filter { $0 > first } }).count == 1)
      }
    }
  }

  /// A put that all watches see last; it is repeated until it is acknowledged.
  private func lastPut(_ gateway: GatewayProcess, _ user: String?) async throws -> Int {
    try await eventually("acknowledged put") {
      let body: JSON = ["key": .string("w/last".base64)]
      let response = try await gateway.http.post("/v3/kv/put", body, user: user)
      return try? response.json["header"]?["revision"]?.string.flatMap { Int($0) }
    }
  }

  /// The second `created` is hidden, and an event is neither lost nor sent twice, whether it came before the only
  /// member was away or during that.
  @Test(arguments: EtcdVersion.allCases)
  func aWatchGoesOnAfterTheOnlyMember(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      let reader = try await WatchReader.open(gateway.url)
      for _ in 0..<3 {
        let before = try await etcd.put("a")
        await etcd.kill()
        try await etcd.start()
        let after = try await etcd.put("a")
        #expect(try await reader.revisions(through: after) == [before, after])
      }
    }
  }

  /// The changes that a watch has missed may be compacted when it is resumed: then it ends, as at the gateway inside
  /// etcd.
  @Test(arguments: EtcdVersion.allCases)
  func aWatchThatMissedWhatIsCompactedIsCanceled(_ version: EtcdVersion) async throws {
    try await withEtcdCluster(version, members: 3, Self.timers) { members in
      try await withGateway([members[0].url], ["--shards", "1"]) { gateway in
        let readers = try await WatchReader.open(3) { _ in try await .open(gateway.url) }
        let seen = try await members[0].put("a")
        for reader in readers { #expect(try await reader.revisions(through: seen) == [seen]) }
        await members[0].kill()
        let last = try await compact(members[1], key: "a")
        try await members[0].start()
        for reader in readers {
          let canceled = try await reader.canceled()
          #expect(canceled["compact_revision"]?.string == "\(last)", "\(canceled)")
          #expect(canceled["events"] == nil && canceled["created"] == nil, "\(canceled)")
        }
      }
    }
  }

  /// A quiet watch knows that it has missed nothing, because etcd reports its progress.
  @Test(arguments: EtcdVersion.allCases)
  func aQuietWatchDoesNotAgeIntoCompaction(_ version: EtcdVersion) async throws {
    try await withEtcdCluster(version, members: 3, Self.timers) { members in
      let arguments = ["--shards", "1", "--watch-progress-interval", "1s"]
      try await withGateway([members[0].url], arguments) { gateway in
        let reader = try await WatchReader.open(gateway.url)
        var other = 0
        for _ in 0..<10 { other = try await members[0].put("b") }
        // Three more messages than now: the second one describes a moment after the last put, and the third one shows
        // that the second has left the member, which counts messages before it sends them.
        let messages = try await messagesSent(members[0])
        _ = try await eventually("progress") { try await messagesSent(members[0]) >= messages + 3 ? true : nil }
        await members[0].kill()
        _ = try await eventually("compaction") {
          // Right after a member's death there may be no leader.
          try? await members[1].call("/v3/kv/compaction", ["revision": .string("\(other)")])
        }
        try await members[0].start()
        let last = try await members[0].put("a")
        #expect(try await reader.revisions(through: last) == [last])
      }
    }
  }

  /// Puts a key ten times and compacts all but the last of them away.
  private func compact(_ member: EtcdProcess, key: String) async throws -> Int {
    let last = try await eventually("put") { () -> Int? in
      // Right after a member's death there may be no leader.
      try? await member.put(key)
    }
    for _ in 0..<9 { try await member.put(key) }
    try await member.call("/v3/kv/compaction", ["revision": .string("\(last + 9)")])
    return last + 9
  }

  private func messagesSent(_ member: EtcdProcess) async throws -> Int {
    Int(try await member.metric("grpc_server_msg_sent_total", ["grpc_method": "Watch"]))
  }
}

extension [Int] {
  /// The adjacent pairs that are not in order, for a failure's message.
  fileprivate var disorder: [(Int, Int)] { Array<(Int, Int)>(zip(self, dropFirst()).filter { $0 >= $1 }.prefix(5)) }
}
