import EtcdSchema
@testable import GrpcBridge
import Synchronization
import TestSupport
import Testing

/// Members that have lost their cluster.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct LeaderlessTests {
  private static let noLeader = "etcdserver: no leader"
  private static let watch = CallMethod(path: "/test/Watch", isRepeatable: true, isStream: true, requiresLeader: true)

  /// Two members, of which the first one that gets a stream has no leader: the channel chooses which one that is.
  private final class Cluster: Sendable {
    private let leaderlessNumber = Mutex<Int?>(nil)
    private let peers = Mutex<[ScriptedPeer]>([])

    init(leaderless: @escaping ScriptedPeer.Script, other: @escaping ScriptedPeer.Script) throws {
      let peers = try (0..<2).map { number in
        try ScriptedPeer { [unowned self] call in
          // The channel's own probe is refused.
          guard call.path != EtcdRPC.watch.path else { return .failure(12, "unknown service") }
          return isLeaderless(number) ? leaderless(call) : other(call)
        }
      }
      self.peers.withLock { $0 = peers }
    }

    private func isLeaderless(_ number: Int) -> Bool {
      leaderlessNumber.withLock {
        if $0 == nil { $0 = number }
        return $0 == number
      }
    }

    private func peer(_ choice: (Int) -> Int) throws -> ScriptedPeer {
      let number = try #require(leaderlessNumber.withLock { $0 })
      return peers.withLock { $0[choice(number)] }
    }

    var leaderless: ScriptedPeer { get throws { try peer { $0 } } }
    var other: ScriptedPeer { get throws { try peer { 1 - $0 } } }

    func run(_ body: (BridgeFixture) async throws -> Void) async throws {
      let peers = peers.withLock { $0 }
      let fixture = try BridgeFixture(peers[0], others: [peers[1]])
      defer {
        fixture.stop()
        for peer in peers { peer.stop() }
      }
      try await body(fixture)
    }
  }

  @Test func aStreamGoesOnAtAnotherMemberAtOnce() async throws {
    let cluster = try Cluster(leaderless: { _ in .failure(14, Self.noLeader) }, other: { _ in .messages([[9]]) })
    try await cluster.run { fixture in
      let call = await fixture.start(Self.watch, [[1]])
      try await call.expectEnd(.ok)
      #expect(call.messages == [[9]])
      // More than once only if the other one is not connected yet.
      #expect(try !cluster.leaderless.record.streams(of: "/test/Watch").isEmpty)
      #expect(try cluster.other.record.streams(of: "/test/Watch").count == 1)
    }
  }

  @Test func lateNewsOfOneMemberIsNotTakenForNewsOfAnother() async throws {
    let gate = ScriptedPeer.Gate()
    let cluster = try Cluster(
      leaderless: {
        $0.message == [1]
          ? [
            .headers(.grpcResponse), .data(grpcFrame([8])), .wait(gate),
            .trailers(.grpcStatus(14, LeaderlessTests.noLeader)),
          ] : .failure(14, Self.noLeader)
      }, other: { _ in [.headers(.grpcResponse), .data(grpcFrame([9]))] })
    try await cluster.run { fixture in
      let late = await fixture.start(.stream, [[1]])
      _ = try await late.messages(1)
      // Calls that reach the member without a leader continue at the other one.
      let next = await fixture.start(.stream, [[2]])
      _ = try await next.messages(1)
      let third = await fixture.start(.stream, [[3]])
      _ = try await third.messages(1)

      gate.open()
      try await late.expectEnd(.unavailable)
      let last = await fixture.start(.stream, [[4]])
      _ = try await last.messages(1)
      let record = try cluster.other.record
      let streams = record.streams(of: "/test/Stream")
      #expect(streams.map(\.messages) == [[[2]], [[3]], [[4]]])
      #expect(Set(streams.map(\.connection)).count == 1)
      #expect(record.connections.allSatisfy { $0.goAwayCode == nil && $0.closed == nil })
      #expect([next.ends, third.ends, last.ends] == [0, 0, 0])
    }
  }

  @Test func itsMakerHearsOfAClusterWithoutALeader() async throws {
    let cluster = try Cluster(
      leaderless: { _ in .failure(14, Self.noLeader) }, other: { _ in .failure(14, Self.noLeader) })
    try await cluster.run { fixture in
      let call = await fixture.start(Self.watch, [[1]])
      let status = try await call.end()
      #expect(status == GRPCStatus(.unavailable, Self.noLeader, origin: .server))
      let counts = [try cluster.leaderless, try cluster.other].map { $0.record.streams(of: "/test/Watch").count }
      #expect(counts[0] + counts[1] == 100 && abs(counts[0] - counts[1]) < 10, "\(counts)")
    }
  }
}
