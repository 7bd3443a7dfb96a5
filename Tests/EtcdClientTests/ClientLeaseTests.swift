import EtcdClient
import EtcdSchema
import SwiftProtobuf
import Testing
import TestSupport

/// Leases, against real etcds.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct ClientLeaseTests {
  @Test(arguments: ClientSetting.all)
  func leasesTakeTheirKeysAlong(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let grant = try await client.grantLease(ttl: .seconds(60))
      #expect(grant.ttl == .seconds(60))
      let chosen = try await client.grantLease(ttl: .milliseconds(59_001), id: 77)
      #expect(chosen.id == 77 && chosen.ttl == .seconds(60))
      try await client.put("k", "v", lease: grant.id)
      #expect(try await client.get("k").first?.lease == grant.id)
      let life = try await client.timeToLive(of: grant.id, keys: true)
      #expect(life.keys == ["k"] && life.grantedTTL == .seconds(60) && life.ttl > .seconds(50))
      #expect(try await client.timeToLive(of: 77).keys.isEmpty)
      #expect(try await Set(client.leases()) == [grant.id, 77])
      #expect(try await client.keepAliveOnce(grant.id).ttl == .seconds(60))
      try await client.revokeLease(grant.id)
      #expect(try await client.get("k").first == nil)
      await expectError(.leaseNotFound) { try await client.timeToLive(of: grant.id) }
      await expectError(.leaseNotFound) { try await client.keepAliveOnce(grant.id) }
      await expectError(.leaseNotFound) { try await client.revokeLease(grant.id) }
      await expectError(.leaseExist) { try await client.grantLease(ttl: .seconds(60), id: 77) }
      await expectError(.leaseTTLTooLarge) { try await client.grantLease(ttl: .seconds(10_000_000_000)) }
    }
  }

  /// No time is too long to compute with.
  @Test func aLeaseOfAllTimeIsKept() async throws {
    let script: ScriptedPeer.Script = { call in
      if call.path.hasSuffix("LeaseTimeToLive") {
        return .message(
          try! Etcdserverpb_LeaseTimeToLiveResponse.with { ($0.id, $0.ttl, $0.grantedTtl) = (7, .max, .max) }
            .serializedBytes())
      }
      let answer: [UInt8] = try! Etcdserverpb_LeaseKeepAliveResponse.with { ($0.id, $0.ttl) = (7, .max) }
        .serializedBytes()
      return [.headers(.grpcResponse), .data(grpcFrame(answer)), .data(grpcFrame(answer))]
    }
    try await withScriptedClient(script: script) { client, _ in
      let life = try await client.timeToLive(of: 7)
      #expect(life.ttl == .seconds(Int64.max) && life.grantedTTL == life.ttl)
      #expect(try await client.keepAliveOnce(7).ttl == .seconds(Int64.max))
      for try await renewal in client.keepAlive(7) {
        #expect(renewal.ttl == .seconds(Int64.max))
        break
      }
      #expect(try await client.timeToLive(of: 7).id == 7)
    }
  }

  /// The lease would have expired twice; when it is gone, the sequence ends.
  @Test(arguments: ClientSetting.all)
  func keepAliveKeepsALeaseAliveAndEndsWithIt(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      let lease = try await client.grantLease(ttl: .seconds(8)).id
      try await client.put("k", "v", lease: lease)
      var count = 0
      for try await renewal in client.keepAlive(lease) {
        #expect(renewal.id == lease && renewal.ttl == .seconds(8))
        count += 1
        if count == 7 { try await client.revokeLease(lease) }
        if count < 7 { #expect(try await client.get("k").count == 1) }
      }
      #expect(count >= 7)
      for try await renewal in client.keepAlive(12345) { Issue.record("\(renewal) of no lease") }
    }
  }

  @Test func whoeverDoesNotReadStillKeepsTheLeaseAlive() async throws {
    try await withClient(ClientSetting(version: .v3_5, hasAuth: false)) { client, etcd in
      let lease = try await client.grantLease(ttl: .seconds(10)).id
      var renewals: LeaseKeepAlives.Iterator? = client.keepAlive(lease).makeAsyncIterator()
      // More than a life of the lease.
      _ = try await eventually("four renewals") {
        try await etcd.metric("etcd_debugging_lease_renewed_total") >= 4 ? true : nil
      }
      #expect(try await client.timeToLive(of: lease).ttl > .zero)
      #expect(try await renewals?.next()?.id == lease)
      renewals = nil
      // It is no longer kept alive.
      _ = try await eventually("the end of the lease") { try await client.leases().isEmpty ? true : nil }
    }
  }
}
