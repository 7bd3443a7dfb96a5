import EtcdSchema
import EventLoop
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// The choice of members for calls.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct MemberTests {
  private static let leaderProbe = EtcdRPC.watch.path
  private static let repeatable = CallMethod(path: "/test/Read", isRepeatable: true)
  private static let watch = CallMethod(path: "/test/Watch", isRepeatable: true, isStream: true, requiresLeader: true)
  private static let well: ScriptedPeer.Answer = [.headers(.grpcResponse), .data(grpcFrame([0x18, 1]))]

  /// Members that answer the channel's own calls as etcd does, and other calls with their number.
  private static func cluster(
    _ count: Int, _ configuration: Bridge.Configuration = .init(),
    settings: [Int: ScriptedPeer.Settings] = [:],
    script: @escaping @Sendable (Int, ScriptedPeer.Call) -> ScriptedPeer.Answer? = { _, _ in nil },
    body: (BridgeFixture, [ScriptedPeer]) async throws -> Void
  ) async throws {
    let peers = try (0..<count).map { number in
      try ScriptedPeer(settings: settings[number] ?? .init()) { call in
        script(number, call) ?? (call.path == leaderProbe ? well : .message([UInt8(number)]))
      }
    }
    let fixture = try BridgeFixture(peers[0], others: Array(peers.dropFirst()), configuration)
    defer {
      fixture.stop()
      for peer in peers { peer.stop() }
    }
    try await body(fixture, peers)
  }

  /// Makes calls, one after the other, until `isEnough` accepts the number of answers from each member.
  @discardableResult
  private static func call(
    _ fixture: BridgeFixture, _ method: CallMethod = .unary, until isEnough: ([UInt8: Int]) -> Bool
  ) async throws -> [UInt8: Int] {
    var counts: [UInt8: Int] = [:]
    while !isEnough(counts) {
      let call = await fixture.start(method, [[7]])
      try await call.expectEnd(.ok)
      counts[try #require(call.messages.first?.first), default: 0] += 1
    }
    return counts
  }

  /// Starts repeatable calls until `isEnough` accepts the number of calls that each member has seen.
  private static func read(
    _ fixture: BridgeFixture, _ peers: [ScriptedPeer], until isEnough: ([Int]) -> Bool
  ) async throws -> [RecordedCall] {
    var reads: [RecordedCall] = []
    while true {
      let counts = peers.map { $0.record.streams(of: "/test/Read").count }
      if isEnough(counts) { return reads }
      reads.append(await fixture.start(repeatable, [[1]]))
      _ = try await eventually("the read at a member") {
        peers.map { $0.record.streams(of: "/test/Read").count }.reduce(0, +) > counts.reduce(0, +) ? true : nil
      }
    }
  }

  @Test func callsGoRound() async throws {
    try await Self.cluster(3) { fixture, _ in
      try await Self.call(fixture) { $0.count == 3 }
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 30 }
      #expect(counts == [0: 10, 1: 10, 2: 10])
    }
  }

  @Test func aMemberThatIsAwayCostsNothingAndComesBack() async throws {
    var away = ScriptedPeer.Settings()
    away.listens = false
    try await Self.cluster(3, settings: [1: away]) { fixture, peers in
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 30 }
      #expect(counts[1] == nil)
      peers[1].listen(true)
      try await Self.call(fixture) { $0[1, default: 0] >= 3 }
    }
  }

  @Test func aWriteIsNotRepeatedAndAReadIs() async throws {
    try await Self.cluster(3) { number, call in
      call.path != Self.leaderProbe && number < 2 ? .failure(14, "etcdserver: request timed out") : nil
    } body: { fixture, peers in
      try await Self.call(fixture, Self.repeatable) { $0[2] == 10 }
      var failures = 0
      for _ in 0..<9 where try await fixture.start(.unary, [[7]]).end().code == .unavailable { failures += 1 }
      let asked = peers.map { $0.record.streams(of: "/test/Unary").count }
      #expect(asked.reduce(0, +) == 9 && failures == asked[0] + asked[1], "\(asked), \(failures)")
    }
  }

  @Test(arguments: ["etcdserver: no leader", "etcdserver: rpc not supported for learner"])
  func aMemberThatIsOfNoUseIsLeftOutUntilItIs(message: String) async throws {
    let isWell = Atomic(false)
    let isHeld = Atomic(false)
    try await Self.cluster(3) { number, call in
      if number != 1 || isWell.load(ordering: .relaxed) { return nil }
      if call.path == EtcdRPC.range.path { isHeld.store(true, ordering: .relaxed) }
      // Calls that reach it before its probe are neither executed nor refused.
      return call.path == Self.leaderProbe ? .failure(14, message) : .hang
    } body: { fixture, peers in
      try await peers[1].wait(for: "the question") { !$0.streams(of: Self.leaderProbe).isEmpty }
      // Repeatable calls are moved away if they come first.
      try await Self.call(fixture, Self.repeatable) { $0[0, default: 0] + $0[2, default: 0] == 10 }
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 30 }
      #expect(counts[1] == nil)
      // Its read is not answered: another one follows.
      _ = try await eventually("the read") { isHeld.load(ordering: .relaxed) ? true : nil }
      isWell.store(true, ordering: .relaxed)
      try await Self.call(fixture) { $0[1, default: 0] >= 3 }
    }
  }

  /// Be it said by the member that it does not reach its leader, or that the anonymous request may not read.
  @Test(arguments: [0, 3])
  func aMemberThatWasLostAnswersAReadBeforeItTakesCalls(proof: Int) async throws {
    let isWell = Atomic(false)
    try await Self.cluster(3) { number, call in
      guard number == 1 else { return nil }
      if call.message == [2] { return [.close(abruptly: true)] }
      guard call.path == EtcdRPC.range.path else { return nil }
      guard isWell.load(ordering: .relaxed) else { return .failure(14, "etcdserver: request timed out") }
      return proof == 0 ? nil : .failure(proof, "etcdserver: user name is empty")
    } body: { fixture, peers in
      try await Self.call(fixture) { $0.count == 3 }
      // A write, of which one member is lost.
      while try await fixture.start(.unary, [[2]]).end().code == .ok {}
      try await peers[1].wait(for: "the read") { !$0.streams(of: EtcdRPC.range.path).isEmpty }
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 30 }
      #expect(counts[1] == nil)
      isWell.store(true, ordering: .relaxed)
      try await Self.call(fixture) { $0[1, default: 0] >= 3 }
    }
  }

  @Test func aMemberThatLosesItsLeaderLosesItsReads() async throws {
    let loss = ScriptedPeer.Gate()
    let isLost = Atomic(false)
    try await Self.cluster(2) { number, call in
      guard number == 0 else { return nil }
      guard call.path == Self.leaderProbe else { return .hang }
      if isLost.load(ordering: .relaxed) { return .failure(14, "etcdserver: no leader") }
      return .init(Self.well.steps + [.wait(loss), .trailers(.grpcStatus(14, "etcdserver: no leader"))])
    } body: { fixture, peers in
      let reads = try await Self.read(fixture, peers) { $0[0] > 0 }
      isLost.store(true, ordering: .relaxed)
      loss.open()
      for read in reads {
        try await read.expectEnd(.ok)
        #expect(read.messages == [[1]])
      }
      try await peers[0].wait(for: "resets") { $0.streams(of: "/test/Read").allSatisfy { $0.reset != nil } }
    }
  }

  @Test(arguments: [9, 14])
  func whatALearnerRefusesAnotherMemberDoes(code: Int) async throws {
    let refusal = "etcdserver: rpc not supported for learner"
    try await Self.cluster(2) { number, call in
      if call.path == Self.leaderProbe { return .failure(12, "unknown service") }
      return number == 0 ? .failure(code, refusal) : nil
    } body: { fixture, peers in
      // A refused call is not sent again for long: the other member must be connected.
      try await peers[1].wait(for: "the probe") { !$0.streams(of: Self.leaderProbe).isEmpty }
      try await Self.call(fixture) { $0[1] == 10 }
    }
    try await withBridge { _ in
      .failure(code, refusal)
    } body: { fixture in
      let call = await fixture.start(.unary, [[7]])
      let status = try await call.end()
      #expect(status.message == refusal)
      #expect(fixture.peer.record.streams(of: "/test/Unary").count == 1)
    }
  }

  @Test func whatOnlyTheLeaderDoesFindsIt() async throws {
    try await Self.cluster(3) { number, call in
      call.path != Self.leaderProbe && number != 2 ? .failure(9, "etcdserver: not leader") : nil
    } body: { fixture, peers in
      try await peers[2].wait(for: "the probe") { !$0.streams(of: Self.leaderProbe).isEmpty }
      try await Self.call(fixture) { $0[2] == 10 }
    }
  }

  @Test func aSilentMemberIsLeftOutAndLosesItsReads() async throws {
    var configuration = Bridge.Configuration()
    configuration.channel.suspectAfter = 2000
    // Longer than the test: a new connection to the member would not be frozen.
    configuration.channel.keepaliveTimeout = 600_000
    try await Self.cluster(2, configuration) { number, call in
      number == 0 && call.message == [1] ? [.freeze] : nil
    } body: { fixture, peers in
      try await Self.call(fixture) { $0.count == 2 }
      let reads = try await Self.read(fixture, peers) { $0[0] > 0 }
      for read in reads {
        try await read.expectEnd(.ok)
        #expect(read.messages == [[1]])
      }
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 30 }
      #expect(counts[0] == nil)
    }
  }

  @Test func aSlowMemberIsNotASilentOne() async throws {
    let gate = ScriptedPeer.Gate()
    var configuration = Bridge.Configuration()
    configuration.channel.suspectAfter = 2000
    try await Self.cluster(2, configuration) { number, call in
      call.message == [1] ? ScriptedPeer.Answer.message([UInt8(number)]).after(gate) : nil
    } body: { fixture, peers in
      let slow = await fixture.start(Self.repeatable, [[1]])
      let isAsked: @Sendable (ScriptedPeer.Record) -> Bool = { record in
        record.streams(of: "/test/Read").first.map { record.connections[$0.connection].pings > 0 } == true
      }
      // It gets a PING, and answers it.
      _ = try await eventually("a ping") { peers.contains { isAsked($0.record) } ? true : nil }
      try await Self.call(fixture) { $0.count == 2 }
      gate.open()
      try await slow.expectEnd(.ok)
      #expect(peers.map { $0.record.streams(of: "/test/Read").count }.reduce(0, +) == 1)
    }
  }

  @Test func endpointsComeAndGo() async throws {
    let gate = ScriptedPeer.Gate()
    try await Self.cluster(1) { number, call in
      switch call.path {
      case "/test/Unary" where call.message == [1]: ScriptedPeer.Answer.message([UInt8(number)]).after(gate)
      case "/test/Stream", "/test/Watch": [.headers(.grpcResponse)]
      default: nil
      }
    } body: { fixture, peers in
      let new = try ScriptedPeer { call in
        switch call.path {
        case Self.leaderProbe: Self.well
        case "/test/Watch": .messages([[9]])
        default: .message([9])
        }
      }
      defer { new.stop() }
      let unary = await fixture.start(.unary, [[1]])
      let stream = await fixture.start(.stream, [[1]])
      let watch = await fixture.start(
        Self.watch, [[1]])
      try await peers[0].wait(for: "all three") { $0.streams.count == 3 }

      let both = [try Endpoint(peers[0].endpoint), try Endpoint(new.endpoint)]
      await fixture.run { $0.update(both) }
      try await Self.call(fixture) { $0.count == 2 }
      await fixture.run { $0.update([both[1]]) }
      // A stream without an end does not stay at a removed member; repeatable calls continue elsewhere.
      try await stream.expectEnd(.unavailable)
      try await watch.expectEnd(.ok)
      let counts = try await Self.call(fixture) { $0.values.reduce(0, +) == 10 }
      #expect(counts == [9: 10])
      #expect(unary.ends == 0)
      gate.open()
      try await unary.expectEnd(.ok)
      #expect(unary.messages == [[0]])
      try await peers[0].wait(for: "the end of its connections") { record in
        record.streams.allSatisfy { record.connections[$0.connection].closed != nil }
      }
    }
  }
}
