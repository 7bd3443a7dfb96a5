import EtcdSchema
import SwiftProtobuf
import TestSupport
import Testing

@testable import EtcdClient
@testable import GrpcBridge

/// Time limits, cancellation and the sizes of messages.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct ClientLimitTests {
  private static let put = EtcdRPC.put.path

  @Test func aCancelledCallIsResetUpstream() async throws {
    try await withScriptedClient(script: { _ in .hang }) { client, peer in
      let call = Task { try await client.put("k", "v") }
      try await peer.wait(for: "the call") { $0.streams.first?.messages.count == 1 }
      call.cancel()
      await #expect(throws: CancellationError.self) { try await call.value }
      let record = try await peer.wait(for: "the reset") { $0.streams.first?.reset != nil }
      #expect(record.streams[0].reset?.code == HTTP2Error.cancel)
    }
  }

  @Test func aCallOfACancelledTaskIsNeverSent() async throws {
    try await withScriptedClient(script: { _ in .hang }) { client, peer in
      let gate = AsyncStream<Never>.makeStream()
      let call = Task {
        for await _ in gate.stream {}
        return try await client.put("k", "v")
      }
      call.cancel()
      await #expect(throws: CancellationError.self) { try await call.value }
      #expect(peer.record.streams.isEmpty)
    }
  }

  @Test(arguments: ["watch", "observe", "snapshot", "keepalive"])
  func aCancelledStreamIsResetUpstream(kind: String) async throws {
    try await withScriptedClient(script: { _ in [.headers(.grpcResponse)] }) { client, peer in
      let reading = Task {
        switch kind {
        case "watch": for try await _ in client.watch("k") {}
        case "observe": for try await _ in client.observe("e") {}
        case "snapshot": for try await _ in client.snapshot() {}
        default: for try await _ in client.keepAlive(7) {}
        }
      }
      try await peer.wait(for: "the stream") { $0.streams.first?.messages.count == 1 }
      reading.cancel()
      await #expect(throws: CancellationError.self) { try await reading.value }
      // All keepalives share the stream: it stays for later ones.
      if kind != "keepalive" {
        let record = try await peer.wait(for: "the reset") { $0.streams.first?.reset != nil }
        #expect(record.streams[0].reset?.code == HTTP2Error.cancel)
      }
    }
  }

  @Test func theTimeLimitOfACallIsSaidToEtcdAndKept() async throws {
    try await withScriptedClient(script: { _ in .hang }, change: { $0.requestTimeout = .seconds(77) }) { client, peer in
      let error = await expectError(.deadlineExceeded) {
        try await client.put("k", "v", timeout: .seconds(2))
      }
      #expect(error?.grpcCode == .deadlineExceeded && error?.endpoint == peer.endpoint && error?.name == nil)
      let call = Task { try await client.put("k", "v") }
      let record = try await peer.wait(for: "both calls") { $0.streams(of: Self.put).count == 2 }
      #expect(record.streams.map { $0.headers["grpc-timeout"] } == ["2000m", "77000m"])
      try await peer.wait(for: "the end of the first") { $0.streams[0].reset != nil }
      call.cancel()
      _ = try? await call.value
    }
  }

  @Test func noTimeIsNoCall() async throws {
    try await withScriptedClient(script: { _ in .hang }) { client, peer in
      for time in [Duration.zero, .seconds(-1)] {
        await expectError(.deadlineExceeded) { try await client.put("k", "v", timeout: time) }
      }
      #expect(peer.record.streams.isEmpty)
    }
  }

  /// The server's own time limit is another kind of error than the caller's.
  @Test func aServersTimeoutIsToldFromOurs() async throws {
    try await withScriptedClient(script: { _ in .failure(14, "etcdserver: request timed out") }) { client, _ in
      await expectError(.timeout) { try await client.put("k", "v") }
    }
    try await withScriptedClient(script: { _ in .failure(2, "context deadline exceeded") }) { client, _ in
      await expectError(.deadlineExceeded) { try await client.put("k", "v") }
    }
  }

  @Test func nobodyThereIsUnavailable() async throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let peer = try ScriptedPeer(settings: settings) { _ in .hang }
    try await withClient(to: [peer.endpoint], change: { $0.dialTimeout = .milliseconds(100) }) { client in
      let error = await expectError(.unavailable) { try await client.put("k", "v") }
      #expect(error?.endpoint == nil)
      await expectError(.unavailable) { for try await _ in client.watch("k") {} }
      await expectError(.unavailable) { for try await _ in client.observe("k") {} }
      await expectError(.unavailable) { try await client.status(endpoint: peer.endpoint) }
    }
  }

  @Test func nobodyNeedsToBeWaitedFor() async throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let peer = try ScriptedPeer(settings: settings) { _ in .message([]) }
    // With patience the time limit would end them.
    let impatient: (inout EtcdClient.Configuration) -> Void = {
      $0.dialTimeout = .seconds(3600)
      $0.requestTimeout = .seconds(20)
      $0.waitsForReady = false
    }
    for credentials in [EtcdClient.Credentials.none, .basic(user: "ann", password: "annpw")] {
      try await withClient(to: [peer.endpoint], credentials, change: impatient) { client in
        await expectError(.unavailable) { try await client.put("k", "v") }
        await expectError(.unavailable) { try await client.status(endpoint: peer.endpoint) }
      }
    }
  }

  @Test func messagesAreLimitedBothWays() async throws {
    let answer: [UInt8] = try Etcdserverpb_RangeResponse.with { $0.kvs = [.with { $0.value = .init(count: 2000) }] }
      .serializedBytes()
    try await withScriptedClient(
      script: { _ in .message(answer) },
      change: {
        $0.maxSendBytes = 1000
        $0.maxReceiveBytes = 1000
      }
    ) { client, peer in
      await expectError(.resourceExhausted) { try await client.put("k", Bytes(repeatElement(0, count: 1000))) }
      #expect(peer.record.streams.isEmpty)
      let error = await expectError(.resourceExhausted) { try await client.get("k") }
      #expect(error?.endpoint == peer.endpoint)
      #expect(peer.record.streams.count == 1)
    }
  }

  /// etcd would answer to an empty transaction in its place that it has succeeded.
  @Test func aRequestThatCannotBeEncodedIsNotSent() async throws {
    try await withScriptedClient(script: { _ in .message([]) }, change: { $0.maxSendBytes = .max }) { client, peer in
      // 2 GiB, and all of it the same MiB of memory.
      let put = Etcdserverpb_RequestOp.with { $0.requestPut.value = .init(count: 1 << 20) }
      let request = Etcdserverpb_TxnRequest.with { $0.success = Array(repeating: put, count: 2048) }
      await expectError(.internal) { try await client.call(EtcdRPC.txn, request, .usual(nil)) }
      #expect(peer.record.streams.isEmpty)
      try await client.put("k", "v")
      #expect(peer.record.streams.count == 1)
    }
  }

  @Test(arguments: [false, true])
  func aLeaderIsRequiredWhereAskedFor(isRequired: Bool) async throws {
    try await withScriptedClient(script: { _ in .message([]) }, change: { $0.requireLeader = isRequired }) {
      client, peer in
      try await client.put("k", "v")
      #expect(peer.record.streams[0].headers["hasleader"] == (isRequired ? "true" : nil))
    }
  }

  @Test(
    arguments: [
      { $0.endpoints = [] }, { $0.endpoints = ["ftp://x"] }, { $0.dialTimeout = .zero },
      { $0.keepaliveTime = .seconds(4) }, { $0.keepaliveTimeout = .zero }, { $0.requestTimeout = .zero },
      { $0.maxSendBytes = 0 }, { $0.maxReceiveBytes = 0 }, { $0.streamBacklog = 0 },
      { $0.watchProgressInterval = .milliseconds(999) }, { $0.backoff.first = .zero },
      { $0.backoff.most = .milliseconds(49) }, { $0.autoSyncInterval = .milliseconds(999) },
      {
        $0.tls = .init()
        $0.tls?.certificateFile = "/nonexistent"
      },
    ] as [@Sendable (inout EtcdClient.Configuration) -> Void])
  func whatCannotBeIsRefused(change: @Sendable (inout EtcdClient.Configuration) -> Void) {
    var configuration = EtcdClient.Configuration(endpoints: ["localhost"])
    change(&configuration)
    let error = #expect(throws: EtcdError.self) { try EtcdClient(configuration) }
    #expect(error?.code == .invalidArgument && error?.message.isEmpty == false)
  }

  /// A broken snapshot is never taken for a whole one.
  @Test func aBrokenSnapshotIsDataLoss() async throws {
    func part(_ bytes: Int, rest: UInt64) throws -> [UInt8] {
      try Etcdserverpb_SnapshotResponse.with {
        $0.blob = .init(repeating: 7, count: bytes)
        $0.remainingBytes = rest
      }.serializedBytes()
    }
    for parts in [
      [try part(512, rest: 512), try part(512, rest: 0), try part(32, rest: 0)], [try part(512, rest: 512)], [],
      [try part(512, rest: 512), try part(2000, rest: 0)],
    ] {
      try await withScriptedClient(script: { _ in .messages(parts) }) { client, _ in
        var size = 0
        await expectError(.dataLoss) { for try await piece in client.snapshot() { size += piece.count } }
        #expect(size <= 1024)
      }
    }
  }
}
