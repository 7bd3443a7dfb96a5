import EtcdSchema
import SwiftProtobuf
import TestSupport
import Testing

@testable import GrpcBridge

/// Requests that members die of: two are enough to know.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct LostMemberTests {
  private static let read = CallMethod(path: "/test/Read", isRepeatable: true)
  private static let other = CallMethod(path: "/test/Other", isRepeatable: true)
  private static let keepAlive = EtcdRPC.leaseKeepAlive.path
  private static let watch = EtcdRPC.watch.path
  private static let well: ScriptedPeer.Answer = [.headers(.grpcResponse), .data(grpcFrame([0x18, 1]))]

  /// Three members that die of calls with that path.
  private static func cluster(
    dyingOf path: String, _ death: ScriptedPeer.Answer = [.close(abruptly: true)],
    body: (BridgeFixture, [ScriptedPeer]) async throws -> Void
  ) async throws {
    let peers = try (0..<3).map { _ in
      try ScriptedPeer { call in
        if call.path == path && !call.isSentinel { return death }
        return call.path == watch ? well : .message([7])
      }
    }
    let fixture = try BridgeFixture(peers[0], others: Array(peers.dropFirst()))
    defer {
      fixture.stop()
      for peer in peers { peer.stop() }
    }
    try await body(fixture, peers)
  }

  private static func count(_ peers: [ScriptedPeer], _ path: String) -> Int {
    peers.reduce(0) { $0 + $1.record.streams(of: path).filter { !$0.isSentinel }.count }
  }

  @Test func aReadEndsTwoMembersAndNoThird() async throws {
    try await Self.cluster(dyingOf: "/test/Read") { fixture, peers in
      let call = await fixture.start(Self.read, [[1]])
      let status = try await call.end()
      #expect(status.code == .unavailable && status.origin == .lost)
      #expect(status.message.hasSuffix("the call may crash etcd and is not sent again"), "\(status.message)")
      #expect(Self.count(peers, "/test/Read") == 2)
      #expect(peers.allSatisfy { $0.record.streams(of: "/test/Read").count < 2 })
      // A call that does no harm continues.
      let other = await fixture.start(Self.other, [[1]])
      try await other.expectEnd(.ok)
    }
  }

  /// There is another member, though it does not answer.
  @Test func aReadIsNotSentAgainToTheMemberThatItMayHaveEnded() async throws {
    let peer = try ScriptedPeer { call in
      call.path == "/test/Read" ? (call.attempt == 1 ? [.close(abruptly: true)] : .message([7])) : .message([7])
    }
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let silent = try ScriptedPeer(settings: settings) { _ in .message([7]) }
    let fixture = try BridgeFixture(peer, others: [silent])
    defer {
      fixture.stop()
      peer.stop()
      silent.stop()
    }
    let call = await fixture.start(Self.read, [[1]])
    try await call.expectEnd(.unavailable)
    #expect(peer.record.streams(of: "/test/Read").count == 1)
    let next = await fixture.start(Self.read, [[1]])
    try await next.expectEnd(.ok)
  }

  @Test func aWriteEndsOneMember() async throws {
    try await Self.cluster(dyingOf: "/test/Unary") { fixture, peers in
      let call = await fixture.start(.unary, [[1]])
      let status = try await call.end()
      #expect(status.code == .unavailable)
      #expect(status.message.hasSuffix("; the call may have been executed"), "\(status.message)")
      #expect(Self.count(peers, "/test/Unary") == 1)
    }
  }

  /// A proxy in front of etcd lives on, and reports that its member does not.
  @Test(
    arguments: [
      .http(status: 502), .http(status: 504), .failure(14, "error reading from server: EOF"),
    ] as [ScriptedPeer.Answer])
  func whatAProxySaysOfItsMemberIsNoAnswer(death: ScriptedPeer.Answer) async throws {
    try await Self.cluster(dyingOf: "/test/Read", death) { fixture, peers in
      let call = await fixture.start(Self.read, [[1]])
      try await call.expectEnd(.unavailable)
      #expect(Self.count(peers, "/test/Read") == 2)
    }
  }

  /// etcd's own answer that it is unavailable proves that it lives.
  @Test func anAnswerIsRepeatedAsOftenAsEver() async throws {
    try await Self.cluster(dyingOf: "/test/Read", .failure(14, "etcdserver: leader changed")) { fixture, peers in
      let call = await fixture.start(Self.read, [[1]])
      try await call.expectEnd(.unavailable)
      #expect(Self.count(peers, "/test/Read") == 100)
    }
  }

  @Test func aKeepaliveEndsTwoMembersAndNoThird() async throws {
    try await Self.cluster(dyingOf: Self.keepAlive) { fixture, peers in
      let answers = await fixture.keepAlive([1])
      guard case .failure(let status) = try await answers[0].result() else {
        Issue.record("an answer")
        return
      }
      #expect(status.code == .unavailable)
      #expect(Self.count(peers, Self.keepAlive) == 2)
    }
  }

  // MARK: - Watches

  @Test func aWatchThatEndsItsMemberIsCreatedTwice() throws {
    let etcd = try SimulatedEtcd()
    let listener = WatchListener(etcd)
    listener.create("a")
    var deaths = 0
    while listener.status == nil && deaths < 10 {
      deaths += 1
      etcd.takeRequest(etcd.streams[0])
      etcd.fail(etcd.streams[0], GRPCStatus(.unavailable, "lost", origin: .lost))
      etcd.turn()
    }
    #expect(deaths == 2)
    #expect(listener.status?.message.contains("may crash etcd") == true)
    #expect(etcd.streams.isEmpty)
  }

  /// A watch outlives any number of members that have kept it for a while; members that die in a row end it in the end.
  @Test func aWatchOutlivesMembersThatHaveKeptIt() throws {
    let watcher = UpstreamWatcher(
      WatchSpec(request: [], passesFragments: false), startRevision: 0, birth: 0)
    var now: UInt64 = 0
    func live(for time: UInt64) throws {
      let created = Etcdserverpb_WatchResponse.with { $0.created = true }
      watcher.created(try WatchMessage(created.serializedBytes()), at: now)
      now += time
      watcher.wasLost(at: now)
      watcher.state = .waiting
    }
    for _ in 0..<100 {
      try live(for: 5000)
      #expect(!watcher.isDangerous)
      // Two that die together, as when a rack loses its power.
      try live(for: 1)
      try live(for: 1)
      #expect(!watcher.isDangerous)
    }
    for _ in 0..<3 { try live(for: 1) }
    #expect(watcher.isDangerous)
  }

  /// A member that has sent something for a watch has outlived its creation, however soon it dies afterwards.
  @Test func aWatchThatIsServedIsHarmless() throws {
    let watcher = UpstreamWatcher(WatchSpec(request: [], passesFragments: false), startRevision: 0, birth: 0)
    let created = Etcdserverpb_WatchResponse.with { $0.created = true }
    let event = Etcdserverpb_WatchResponse.with { $0.events = [.with { $0.kv.modRevision = 1 }] }
    for _ in 0..<100 {
      watcher.created(try WatchMessage(created.serializedBytes()), at: 0)
      _ = watcher.received(try WatchMessage(event.serializedBytes()))
      watcher.wasLost(at: 1)
      watcher.state = .waiting
      #expect(!watcher.isDangerous)
    }
    for _ in 0..<5 {
      watcher.created(try WatchMessage(created.serializedBytes()), at: 0)
      watcher.wasLost(at: 1)
      watcher.state = .waiting
    }
    #expect(watcher.isDangerous)
  }
}

extension ScriptedPeer.Call {
  /// Whether it is the call by which the channel itself checks whether a member is usable.
  fileprivate var isSentinel: Bool { path == EtcdRPC.watch.path }
}

extension ScriptedPeer.Stream {
  fileprivate var isSentinel: Bool { headers[":path"] == EtcdRPC.watch.path }
}
