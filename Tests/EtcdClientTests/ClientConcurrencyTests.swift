import EtcdClient
import Testing
import TestSupport

/// Locks and elections, against real etcds.
@Suite struct ClientConcurrencyTests {
  @Test(arguments: ClientSetting.all)
  func aLockHasOneHolder(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let mine = try await client.grantLease(ttl: .seconds(60)).id
      let yours = try await client.grantLease(ttl: .seconds(60)).id
      let lock = try await client.lock("l", lease: mine)
      #expect(lock.key.starts(with: Bytes("l/")))
      let late = try await client.grantLease(ttl: .seconds(60)).id
      await expectError(.deadlineExceeded) { try await client.lock("l", lease: late, timeout: .milliseconds(200)) }
      try await client.revokeLease(late)
      async let next = client.lock("l", lease: yours)
      _ = try await eventually("a second one who waits") {
        try await client.get(prefix: "l/").count == 2 ? true : nil
      }
      try await client.unlock(lock.key)
      #expect(try await next.key != lock.key)
      await expectError(.leaseNotFound) { try await client.lock("m", lease: 999) }
    }
  }

  @Test(arguments: ClientSetting.all)
  func whoeverIsCancelledNoLongerQueues(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let mine = try await client.grantLease(ttl: .seconds(60)).id
      let yours = try await client.grantLease(ttl: .seconds(60)).id
      _ = try await client.lock("l", lease: mine)
      let waiting = Task { try await client.lock("l", lease: yours) }
      _ = try await eventually("a second one who waits") { try await client.get(prefix: "l/").count == 2 ? true : nil }
      waiting.cancel()
      await #expect(throws: CancellationError.self) { try await waiting.value }
      _ = try await eventually("the end of the wait") { try await client.get(prefix: "l/").count == 1 ? true : nil }
    }
  }

  @Test(arguments: ClientSetting.all)
  func anElectionHasOneLeader(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let mine = try await client.grantLease(ttl: .seconds(60)).id
      let yours = try await client.grantLease(ttl: .seconds(60)).id
      let leaders = client.observe("e").makeAsyncIterator()
      let first = try await client.campaign("e", lease: mine, value: "first")
      #expect(first.name == "e" && first.lease == mine)
      #expect(try await leaders.next()?.value == "first")
      #expect(try await client.leader(of: "e").key == first.key)
      try await client.proclaim("still first", as: first)
      #expect(try await leaders.next()?.value == "still first")
      async let second = client.campaign("e", lease: yours, value: "second")
      _ = try await eventually("a candidate") { try await client.get(prefix: "e/").count == 2 ? true : nil }
      try await client.resign(first)
      let leadership = try await second
      #expect(leadership.lease == yours)
      #expect(try await leaders.next()?.value == "second")
      try await client.resign(leadership)
      await #expect(throws: EtcdError.self) { try await client.leader(of: "e") }
      await #expect(throws: EtcdError.self) { try await client.proclaim("no more", as: first) }
    }
  }

  @Test func anElectionIsObservedAcrossARestart() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: true)) { client, etcd in
      let lease = try await client.grantLease(ttl: .seconds(60)).id
      let leadership = try await client.campaign("e", lease: lease, value: "one")
      let leaders = client.observe("e").makeAsyncIterator()
      #expect(try await leaders.next()?.value == "one")
      try await etcd.restart()
      // A read is repeated until there is a connection; a write is not.
      _ = try await client.get("e")
      try await client.proclaim("two", as: leadership)
      // The same leader as before does not come twice.
      #expect(try await leaders.next()?.value == "two")
    }
  }
}
