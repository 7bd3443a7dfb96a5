import EtcdClient
import Testing
import TestSupport

/// Members and their maintenance, against real etcds.
@Suite struct ClientClusterTests {
  @Test(arguments: ClientSetting.all)
  func membersAreAddedChangedAndRemoved(setting: ClientSetting) async throws {
    // After quick changes of members etcd itself sometimes loses its connection, and says so.
    for attempt in 1...3 {
      do {
        return try await changeMembers(setting)
      } catch let error as EtcdError where error.code == .timeoutDueToConnectionLost && attempt < 3 {
        continue
      }
    }
  }

  private func changeMembers(_ setting: ClientSetting) async throws {
    // etcd's checks would require that the learner is started first.
    try await withClient(setting, ["--strict-reconfig-check=false"]) { client, etcd in
      let members = try await client.members()
      let own = try #require(members.first)
      #expect(members.count == 1 && own.clientURLs == [etcd.url] && own.name == "m0" && !own.isLearner)
      #expect(try await client.members(linearizable: false) == members)
      let learner = try await client.addMember(peerURLs: ["http://127.0.0.1:1"], isLearner: true)
      #expect(learner.isLearner && learner.name.isEmpty && learner.peerURLs == ["http://127.0.0.1:1"])
      let all = try await client.updateMember(learner.id, peerURLs: ["http://127.0.0.1:2"])
      #expect(all.first { $0.id == learner.id }?.peerURLs == ["http://127.0.0.1:2"])
      await expectError(.learnerNotReady) { try await client.promoteMember(learner.id) }
      await expectError(.memberNotLearner) { try await client.promoteMember(own.id) }
      await expectError(.peerURLExist) { try await client.addMember(peerURLs: ["http://127.0.0.1:2"]) }
      await expectError(.memberBadURLs) { try await client.addMember(peerURLs: ["nonsense"]) }
      await expectError(.memberNotFound) { try await client.removeMember(1) }
      #expect(try await client.removeMember(learner.id).map(\.id) == [own.id])
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aSecondLearnerIsRefused(version: EtcdVersion) async throws {
    try await withClient(ClientSetting(version: version, hasAuth: false)) { client, _ in
      _ = try await client.addMember(peerURLs: ["http://127.0.0.1:1"], isLearner: true)
      await expectError(.tooManyLearners) {
        try await client.addMember(peerURLs: ["http://127.0.0.1:2"], isLearner: true)
      }
    }
  }

  @Test(arguments: ClientSetting.all)
  func aMemberIsLookedAfter(setting: ClientSetting) async throws {
    try await withClient(setting) { client, etcd in
      try await client.put("k", "v")
      let status = try await client.status(endpoint: etcd.url)
      #expect(status.version == setting.version.rawValue && status.isLeader && !status.isLearner)
      #expect(status.databaseSize > 0 && status.databaseSizeInUse > 0 && status.errors.isEmpty)
      #expect(status.databaseQuota == nil && status.storageVersion == nil)
      #expect(try await client.status().header.memberID == status.header.memberID)
      #expect(try await client.hash() != 0)
      let hash = try await client.hashKV()
      #expect(try await client.hashKV(endpoint: etcd.url).hash == hash.hash)
      try await client.defragment()
      try await client.defragment(endpoint: etcd.url)
      #expect(try await client.alarms().isEmpty)
      #expect(try await client.disarm().isEmpty)
      await expectError(.badLeaderTransferee) { try await client.moveLeader(to: 1) }
      if setting.version > .v3_4 {
        // The member decides the cluster's version a moment after it is healthy.
        let version = try await eventually("the cluster's version") {
          try? await client.downgrade(.validate, to: "3.4.0")
        }
        #expect(version == "3.5.0")
        await expectError(.invalidDowngradeTargetVersion) { try await client.downgrade(.validate, to: "3.3.0") }
        await expectError(.wrongDowngradeVersionFormat) { try await client.downgrade(.validate, to: "x") }
        await expectError(.noInflightDowngrade) { try await client.downgrade(.cancel) }
      } else {
        await expectError(.unimplemented) { try await client.downgrade(.validate, to: "3.4.0") }
      }
    }
  }

  @Test(arguments: ClientSetting.all)
  func aFullDatabaseIsTold(setting: ClientSetting) async throws {
    try await withClient(setting, ["--quota-backend-bytes", "300000"]) { client, _ in
      await expectError(.noSpace) {
        for index in 0..<1000 { try await client.put("k\(index)", Bytes(repeatElement(1, count: 10_000))) }
      }
      let alarms = try await client.alarms()
      let member = try await client.status().header.memberID
      #expect(alarms == [Alarm(.noSpace, of: member)])
      await expectError(.noSpace) { try await client.put("k", "v") }
      try await client.delete(range: .all)
      try await client.compact(try await client.get("k").header.revision, physical: true)
      try await client.defragment()
      #expect(try await client.disarm(Alarm(.noSpace, of: member)) == alarms)
      try await client.put("k", "v")
      #expect(try await client.alarms().isEmpty)
    }
  }

  @Test(arguments: ClientSetting.all)
  func aSnapshotIsAWholeFile(setting: ClientSetting) async throws {
    try await withClient(setting) { client, etcd in
      for index in 0..<40 { try await client.put("k\(index)", Bytes(repeatElement(UInt8(index), count: 100_000))) }
      for endpoint in [nil, etcd.url] {
        var size = 0
        for try await piece in client.snapshot(endpoint: endpoint) { size += piece.count }
        #expect(size > 4_000_000 && size % 512 == 32)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func leadershipIsMoved(version: EtcdVersion) async throws {
    // The leader remains the leader.
    let timers = ["--heartbeat-interval", "100", "--election-timeout", "5000"]
    try await withEtcdCluster(version, members: 3, timers) { members in
      try await withClient(to: members.map(\.url)) { client in
        var statuses: [String: MemberStatus] = [:]
        for member in members { statuses[member.url] = try await client.status(endpoint: member.url) }
        let leader = try #require(statuses.first { $0.value.isLeader })
        let other = try #require(statuses.first { !$0.value.isLeader })
        let target = other.value.header.memberID
        await expectError(.notLeader) { try await client.moveLeader(to: target, endpoint: other.key) }
        try await client.moveLeader(to: target, endpoint: leader.key)
        #expect(try await client.status(endpoint: other.key).isLeader)
        let hashes = try await members.asyncMap { try await client.hashKV(endpoint: $0.url, revision: 1).hash }
        #expect(Set(hashes).count == 1)
      }
    }
  }
}

extension [EtcdProcess] {
  fileprivate func asyncMap<Value>(_ body: (EtcdProcess) async throws -> Value) async throws -> [Value] {
    var result: [Value] = []
    for member in self { result.append(try await body(member)) }
    return result
  }
}
