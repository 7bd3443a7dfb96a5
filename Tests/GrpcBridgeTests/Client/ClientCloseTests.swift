import GrpcBridge
import TestSupport
import Testing

/// The end of a client.
@Suite struct ClientCloseTests {
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
    // All calls are there; watches and keepalives share a stream each.
    try await peer.wait(for: "everything", within: .seconds(30)) { record in
      record.streams(of: "/etcdserverpb.KV/Put").count == calls
        && record.streams(of: "/etcdserverpb.Maintenance/Snapshot").count == streams
        && record.streams(of: "/v3electionpb.Election/Observe").count == streams
        && record.streams(of: "/etcdserverpb.Maintenance/Status").count == 20
        && record.streams(of: "/etcdserverpb.Lease/LeaseKeepAlive").first?.messages.isEmpty == false
        && record.streams(of: "/etcdserverpb.Watch/Watch").first?.messages.isEmpty == false
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

  /// In a process of its own, where nothing else comes and goes.
  @Test(.timeLimit(.minutes(5))) func manyClientsLeaveNothingBehind() async throws {
    await #expect(processExitsWith: .success) {
      let peer = try ScriptedPeer { _ in .message([]) }
      try await expectFlat(cycles: 10_000, warmUp: 1000) {
        let client = try EtcdClient(endpoints: [peer.endpoint])
        client.close()
      }
    }
  }

  @Test(.timeLimit(.minutes(5))) func manyClientsThatWereOfUseLeaveNothingBehind() async throws {
    await #expect(processExitsWith: .success) {
      let token: [UInt8] = [0x12, 1, 0x74]
      let peer = try ScriptedPeer { call in
        switch call.path {
        case "/etcdserverpb.Watch/Watch": [.headers(.grpcResponse)]
        case "/etcdserverpb.Auth/Authenticate": .message(token)
        default: .message([])
        }
      }
      try await expectFlat(cycles: 2000, warmUp: 500) {
        let client = try EtcdClient(endpoints: [peer.endpoint], credentials: .basic(user: "ann", password: "pw"))
        try await client.put("k", "v")
        let watch = client.watch("k").makeAsyncIterator()
        _ = try await client.get("k")
        withExtendedLifetime(watch) { client.close() }
      }
    }
  }
}

/// Expects memory, threads and descriptors to stay what they were after a while.
private func expectFlat(cycles: Int, warmUp: Int, _ cycle: () async throws -> Void) async throws {
  for _ in 0..<warmUp { try await cycle() }
  let (memory, threads, descriptors) = (residentBytes(), threadCount(), descriptorCount())
  for _ in 0..<cycles { try await cycle() }
  let grown = residentBytes() - memory
  #expect(grown < 4 << 20, "\(cycles) clients have left \(grown) bytes")
  #expect(threadCount() <= threads)
  // The peer closes its side in its own time.
  _ = try await eventually("as few descriptors as before") { descriptorCount() <= descriptors ? true : nil }
}
