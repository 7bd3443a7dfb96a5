import EtcdSchema
import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// Reads that share batches, and reads that do not.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct ReadBatchTests {
  private static func withBatches(
    _ most: Int = 64, warm: Bool = true,
    script: @escaping @Sendable (ScriptedPeer.Call) -> ScriptedPeer.Answer? = { _ in nil },
    body: (BridgeFixture) async throws -> Void
  ) async throws {
    try await withBridge(.init(), .batching(most), script: { script($0) ?? BatchPeer.answer($0) }) { fixture in
      if warm { try await fixture.warmUp() }
      try await body(fixture)
    }
  }

  private static func transactions(_ fixture: BridgeFixture) -> [Etcdserverpb_TxnRequest] {
    fixture.peer.record.streams(of: BatchPeer.txn).compactMap {
      $0.messages.first.flatMap { try? Etcdserverpb_TxnRequest(serializedBytes: $0) }
    }
  }

  /// The sizes of the transactions, without those of the warming up.
  private static func sizes(_ fixture: BridgeFixture) -> [Int] {
    transactions(fixture).map(\.success).filter { !$0.contains { $0.requestRange.key.starts(with: "warm".utf8) } }
      .map(\.count)
  }

  @Test func readsOfATurnAreOneTransaction() async throws {
    try await Self.withBatches { fixture in
      let messages = (0..<100).map { BatchPeer.request($0 % 3 == 0 ? "missing\($0)" : "key\($0)") }
      let calls = await fixture.startTogether(BatchPeer.range, messages)
      try await fixture.expectAnswers(calls, messages)
      #expect(Self.sizes(fixture) == [64, 36])
      #expect(calls.allSatisfy { $0.ends == 1 })
      let headers = try #require(fixture.peer.record.streams(of: BatchPeer.txn).first?.headers)
      // Each read has a deadline of its own.
      #expect(headers["grpc-timeout"] == nil)
    }
  }

  @Test func aReadThatIsAloneIsARange() async throws {
    try await Self.withBatches(warm: false) { fixture in
      for key in ["a", "b", "c"] {
        let message = BatchPeer.request(key)
        let calls = await fixture.startTogether(BatchPeer.range, [message])
        try await fixture.expectAnswers(calls, [message])
      }
      #expect(fixture.peer.record.streams.map(\.path) == Array(repeating: EtcdRPC.range.path, count: 3))
      #expect(await fixture.run { $0.batchCounts } == BatchCounts())
    }
  }

  @Test func equalReadsShareOne() async throws {
    try await Self.withBatches { fixture in
      let ranges = fixture.peer.record.streams(of: EtcdRPC.range.path).count
      let (a, b) = (BatchPeer.request("a"), BatchPeer.request("b"))
      let same = await fixture.startTogether(BatchPeer.range, [a, a, a, a])
      try await fixture.expectAnswers(same, [a, a, a, a])
      #expect(fixture.peer.record.streams(of: EtcdRPC.range.path).count == ranges + 1)
      let before = await fixture.run { $0.batchCounts }
      let mixed = await fixture.startTogether(BatchPeer.range, [a, b, a, b, b])
      try await fixture.expectAnswers(mixed, [a, b, a, b, b])
      #expect(Self.sizes(fixture) == [2])
      let counts = await fixture.run { $0.batchCounts }
      #expect(counts.sharedReads == before.sharedReads + 3 && counts.batchedReads == before.batchedReads + 2)
    }
  }

  @Test func onlyReadsOfOneKeyTravel() async throws {
    try await Self.withBatches { fixture in
      let alone = [
        BatchPeer.request("a") { $0.rangeEnd = .init([98]) }, BatchPeer.request("a") { $0.revision = 3 },
        BatchPeer.request("a") { $0.sortTarget = .value }, BatchPeer.request("a") { $0.sortOrder = .ascend },
        BatchPeer.request("a") { $0.minModRevision = 1 }, BatchPeer.request(""),
        BatchPeer.request(String(repeating: "k", count: 3000)),
        BatchPeer.request("a") + [0xa0, 0x06, 0x01], BatchPeer.request("a") + [0x0a], [],
      ]
      let calls = await fixture.startTogether(BatchPeer.range, alone)
      for call in calls { _ = try await call.end() }
      #expect(Self.sizes(fixture).isEmpty)
      let together = [
        BatchPeer.request("a"), BatchPeer.request("b") { $0.keysOnly = true },
        BatchPeer.request("c") { $0.limit = 1 }, BatchPeer.request(String(repeating: "k", count: 1000)),
      ]
      try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, together), together)
      #expect(Self.sizes(fixture) == [4])
    }
  }

  /// A transaction without a linearizable read is answered from the member's own data.
  @Test func serializableReadsTravelAmongThemselves() async throws {
    try await Self.withBatches { fixture in
      let messages = (0..<8).map { number in BatchPeer.request("k\(number)") { $0.serializable = number % 2 == 0 } }
      try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, messages), messages)
      let kinds = Self.transactions(fixture).suffix(2).map { $0.success.map(\.requestRange.serializable) }
      #expect(kinds.contains([true, true, true, true]) && kinds.contains([false, false, false, false]))
    }
  }

  @Test func usersDoNotTravelWithOthers() async throws {
    try await Self.withBatches { fixture in
      let messages = ["a", "b"].map { BatchPeer.request($0) }
      let all = await withTaskGroup { group in
        for user in [BridgeFixture.User.token("ann"), .token("bob"), .nobody] {
          group.addTask { await fixture.startTogether(BatchPeer.range, messages, for: user) }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      for calls in all { try await fixture.expectAnswers(calls, messages) }
      let tokens = fixture.peer.record.streams(of: BatchPeer.txn).suffix(3).map { $0.headers["token"] ?? "" }
      #expect(Set(tokens) == ["ann", "bob", ""])
    }
  }

  @Test func withABatchOfOneEachIsACall() async throws {
    try await Self.withBatches(1, warm: false) { fixture in
      let messages = (0..<5).map { BatchPeer.request("k\($0)") }
      try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, messages), messages)
      #expect(fixture.peer.record.streams.count == 5)
    }
  }

  // MARK: - One read's own end

  @Test func oneThatIsCancelledLeavesTheOthers() async throws {
    let gate = ScriptedPeer.Gate()
    let script: @Sendable (ScriptedPeer.Call) -> ScriptedPeer.Answer? = {
      $0.path == BatchPeer.txn && $0.attempt > 1 ? BatchPeer.answer($0).after(gate) : nil
    }
    try await Self.withBatches(script: script) { fixture in
      let messages = (0..<4).map { BatchPeer.request("k\($0)") }
      // One before it is sent, one on its way.
      let calls = await fixture.startTogether(
        BatchPeer.range, messages, also: { bridge, calls in bridge.cancel(calls[0]) })
      try await fixture.peer.wait(for: "the batch") { $0.streams(of: BatchPeer.txn).count == 2 }
      #expect(Self.sizes(fixture) == [3])
      await fixture.with(calls[2]) { bridge, call in bridge.cancel(call) }
      gate.open()
      try await fixture.expectAnswers([calls[1], calls[3]], [messages[1], messages[3]])
      #expect(calls[0].ends == 0 && calls[2].ends == 0)
    }
  }

  /// When no caller waits any more, the batch is cancelled.
  @Test func theLastOneThatIsCancelledCancelsTheBatch() async throws {
    let script: @Sendable (ScriptedPeer.Call) -> ScriptedPeer.Answer? = {
      $0.path == BatchPeer.txn && $0.attempt > 1 ? .hang : nil
    }
    try await Self.withBatches(script: script) { fixture in
      let calls = await fixture.startTogether(BatchPeer.range, ["a", "b"].map { BatchPeer.request($0) })
      try await fixture.peer.wait(for: "the batch") { $0.streams(of: BatchPeer.txn).count == 2 }
      for call in calls { await fixture.with(call) { bridge, call in bridge.cancel(call) } }
      try await fixture.peer.wait(for: "its end") { $0.streams(of: BatchPeer.txn)[1].reset != nil }
    }
  }

  @Test func eachHasItsOwnDeadline() async throws {
    let gate = ScriptedPeer.Gate()
    let script: @Sendable (ScriptedPeer.Call) -> ScriptedPeer.Answer? = {
      $0.path == BatchPeer.txn && $0.attempt > 1 ? BatchPeer.answer($0).after(gate) : nil
    }
    try await Self.withBatches(script: script) { fixture in
      let messages = (0..<3).map { BatchPeer.request("k\($0)") }
      let calls = await fixture.startTogether(BatchPeer.range, messages, timeouts: [50, nil, 60_000])
      try await calls[0].expectEnd(.deadlineExceeded)
      #expect(calls[1].ends == 0 && calls[2].ends == 0)
      gate.open()
      try await fixture.expectAnswers(Array(calls[1...]), Array(messages[1...]))
    }
  }

  /// What a delegate does with its answer does not affect the others.
  @Test func oneMayEndOthersWhenItIsAnswered() async throws {
    try await Self.withBatches { fixture in
      let others = Mutex<[LoopBound<Call>]>([])
      let messages = (0..<4).map { BatchPeer.request("k\($0)") }
      let calls = await fixture.startTogether(
        BatchPeer.range, messages,
        reaction: { bridge, _, _ in
          for other in others.withLock({ $0 }) { bridge.cancel(other.value) }
        },
        also: { _, calls in
          others.withLock { $0 = [calls[1], calls[3]].map { LoopBound($0, loop: fixture.loop.value) } }
        })
      try await fixture.expectAnswers([calls[0], calls[2]], [messages[0], messages[2]])
      #expect(calls[1].ends == 0 && calls[3].ends == 0)
    }
  }

  @Test func theEndOfTheBridgeIsThatOfAll() async throws {
    let script: @Sendable (ScriptedPeer.Call) -> ScriptedPeer.Answer? = {
      $0.path == BatchPeer.txn && $0.attempt > 1 ? .hang : nil
    }
    try await Self.withBatches(script: script) { fixture in
      let messages = (0..<3).map { BatchPeer.request("k\($0)") }
      let calls = await fixture.startTogether(BatchPeer.range, messages)
      try await fixture.peer.wait(for: "the batch") { $0.streams(of: BatchPeer.txn).count == 2 }
      let late = await fixture.startTogether(BatchPeer.range, messages, also: { bridge, _ in bridge.close() })
      for call in calls + late {
        try await call.expectEnd(.unavailable)
        #expect(call.ends == 1)
      }
    }
  }
}
