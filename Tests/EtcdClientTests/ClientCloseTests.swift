import EtcdClient
import EtcdSchema
import Testing
import TestSupport

/// The end of a client.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct ClientCloseTests {
  @Test func whatIsUnderWayEndsWithAnErrorAndSoDoesWhatComes() async throws {
    let peer = try ScriptedPeer { _ in [.headers(.grpcResponse)] }
    let client = try EtcdClient(endpoints: [peer.endpoint])
    let calls = 300
    let streams = 100
    let kinds: [@Sendable () async throws -> Void] = [
      { for try await _ in client.watch("k\(Int.random(in: 0..<50))") {} },
      { for try await _ in client.keepAlive(LeaseID(.random(in: 1..<50))) {} },
      { for try await _ in client.observe("e") {} }, { for try await _ in client.snapshot() {} },
    ]
    let tasks =
      (0..<calls).map { index in Task { _ = try await client.put("k\(index)", "v") } }
      + kinds.flatMap { kind in (0..<streams).map { _ in Task { try await kind() } } }
      + (0..<20).map { _ in Task { _ = try await client.status(endpoint: peer.endpoint) } }
    // All calls have arrived; watches and keepalives share a stream each.
    try await peer.wait(for: "everything") { record in
      record.streams(of: EtcdRPC.put.path).count == calls
        && record.streams(of: EtcdRPC.snapshot.path).count == streams
        && record.streams(of: EtcdRPC.observe.path).count == streams
        && record.streams(of: EtcdRPC.status.path).count == 20
        && record.streams(of: EtcdRPC.leaseKeepAlive.path).first?.messages.isEmpty == false
        && record.streams(of: EtcdRPC.watch.path).first?.messages.isEmpty == false
    }
    client.close()
    for task in tasks { await expectError(.clientClosed) { try await task.value } }
    try await peer.wait(for: "the end of all connections") { $0.connections.allSatisfy { $0.closed != nil } }
    await expectError(.clientClosed) { try await client.put("k", "v") }
    await expectError(.clientClosed) { for try await _ in client.watch("k") {} }
    await expectError(.clientClosed) { for try await _ in client.keepAlive(1) {} }
    await expectError(.clientClosed) { for try await _ in client.snapshot() {} }
    await expectError(.clientClosed) { try await client.keepAliveOnce(1) }
    await expectError(.clientClosed) { try await client.status(endpoint: peer.endpoint) }
    client.close()
  }

  @Test func aClientThatNobodyRefersToIsClosed() async throws {
    let peer = try ScriptedPeer { _ in .message([]) }
    try await EtcdClient(endpoints: [peer.endpoint]).put("k", "v")
    try await peer.wait(for: "the end of the connection") { $0.connections.first?.closed != nil }
  }

  @Test func everybodyWhoClosesWaitsForTheEnd() async throws {
    let peer = try ScriptedPeer { _ in .message([]) }
    for _ in 0..<50 {
      let client = try EtcdClient(endpoints: [peer.endpoint])
      await withTaskGroup { group in
        for _ in 0..<4 { group.addTask { client.close() } }
        for _ in 0..<4 { group.addTask { _ = try? await client.put("k", "v") } }
      }
      await expectError(.clientClosed) { try await client.put("k", "v") }
    }
  }
}
