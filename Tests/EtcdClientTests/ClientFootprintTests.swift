import EtcdClient
import EtcdSchema
import Foundation
import Testing
import TestSupport

/// The memory and descriptors of clients, during their life and after it, each in a process of its own, where nothing
/// else changes.
///
/// One after the other: while such a process runs, Swift Testing blocks one of Swift's threads until it ends.
@Suite(.serialized, .timeLimit(.minutes(15))) struct ClientFootprintTests {
  @Test func manyClientsLeaveNothingBehind() async throws {
    let peer = try ScriptedPeer { _ in .message([]) }
    await #expect(processExitsWith: .success) { [endpoint = peer.endpoint as String] in
      try await expectFlat(cycles: 10_000) {
        let client = try EtcdClient(endpoints: [endpoint])
        client.close()
      }
    }
  }

  @Test func manyClientsThatWereOfUseLeaveNothingBehind() async throws {
    let token: [UInt8] = [0x12, 1, 0x74]
    let peer = try ScriptedPeer { call in
      switch call.path {
      case EtcdRPC.watch.path, EtcdRPC.leaseKeepAlive.path: [.headers(.grpcResponse)]
      case EtcdRPC.authenticate.path: .message(token)
      default: .message([])
      }
    }
    await #expect(processExitsWith: .success) { [endpoint = peer.endpoint as String] in
      try await expectFlat(cycles: 2000) {
        let client = try EtcdClient(endpoints: [endpoint], credentials: .basic(user: "ann", password: "pw"))
        try await client.put("k", "v")
        let watch = client.watch("k").makeAsyncIterator()
        let keepAlive = client.keepAlive(7).makeAsyncIterator()
        _ = try await client.status(endpoint: endpoint)
        withExtendedLifetime((watch, keepAlive)) { client.close() }
      }
    }
  }

  /// What a watcher does not read stays at etcd: some MiB at most wait in memory.
  @Test func aWatcherThatDoesNotReadIsBounded() async throws {
    try await withEtcd(.v3_5) { etcd in
      _ = await #expect(processExitsWith: .success) { [endpoint = etcd.url as String] in
        try await withClient(to: [endpoint]) { client in
          let slow = client.watch("k").batches.makeAsyncIterator()
          _ = try await slow.next()
          let value = Bytes(repeatElement(1, count: 100_000))
          try await client.put("k", value)
          let before = bytesInUse()
          var revisions: [Int64] = []
          for _ in 0..<800 { revisions.append(try await client.put("k", value).header.revision) }
          // Another watcher sees them all, so that the slow one could have, too.
          var fast = client.watch("k", from: revisions[0]).makeAsyncIterator()
          for revision in revisions { #expect(try await fast.next()?.revision == revision) }
          let grown = bytesInUse() - before
          // Two watches, each with its backlog of 8 MiB and a response at hand of up to 4 MiB.
          #expect(grown < 32 << 20, "80 MB of events that wait take \(grown) bytes")
          var found: [Int64] = []
          while found.count <= revisions.count { found += try #require(try await slow.next()).events.map(\.revision) }
          #expect(found.dropFirst() == revisions[...])
        }
      }
    }
  }
}

/// Expects that memory, threads and descriptors stay at what they were after a tenth of the cycles. Swift's own
/// threads, one for each processor, may begin later on a busy machine, and they may open descriptors.
private func expectFlat(cycles: Int, _ cycle: () async throws -> Void) async throws {
  for _ in 0..<cycles / 10 { try await cycle() }
  let (memory, threads, descriptors) = (bytesInUse(), threadCount(), descriptorCount())
  for _ in 0..<cycles { try await cycle() }
  let grown = bytesInUse() - memory
  #expect(grown < 3 << 20, "\(cycles) clients have left \(grown) bytes")
  let late = ProcessInfo.processInfo.activeProcessorCount
  #expect(threadCount() <= threads + late)
  #expect(descriptorCount() <= descriptors + late)
}
