import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Calls that wait in a queue, at an etcd that answers when the test needs it.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct LockPlaceTests {
  private static let txn = EtcdRPC.txn.path
  private static let user = "ann:secret"
  private static let request = #"{"name":"bA==","lease":"72"}"#
  private static let granted = ScriptedPeer.Answer.message(V3lockpb_LockResponse.with { $0.key = .init("l/48".utf8) })
  private static let refusedToken = ScriptedPeer.Answer.failure(16, "etcdserver: invalid auth token")

  private static func range(_ revision: Int64) -> ScriptedPeer.Answer {
    .message(Etcdserverpb_RangeResponse.with { $0.header.revision = revision })
  }

  private static func wait(_ gateway: GatewayProcess) async throws -> HTTPConnection {
    let connection = try await HTTPConnection.connect(to: gateway.url)
    try await connection.sendRequest("POST", "/v3/lock/lock", headers: basic(user), body: Array(request.utf8))
    return connection
  }

  /// Two clients wait with the same name and lease, the second one after etcd has got the first one's call of `path`.
  private static func waitTwice(
    _ gateway: GatewayProcess, _ peer: ScriptedPeer, seenBy path: String
  ) async throws -> (HTTPConnection, HTTPConnection) {
    let first = try await wait(gateway)
    try await peer.wait(for: "the first client's call") { $0.streams(of: path).count == 1 }
    let second = try await wait(gateway)
    try await peer.wait(for: "the second client's call") { $0.streams(of: path).count == 2 }
    return (first, second)
  }

  /// Two calls wait with the same name and lease. The lock of the granted one survives when the other one leaves.
  @Test func aKeyThatWasGrantedStaysWhenAnotherLeavesWhoWaitsByIt() async throws {
    let gate = ScriptedPeer.Gate()
    try await withScriptedEtcd(script: { call in
      switch call.path {
      case RPCPath.range: Self.range(5)
      case RPCPath.lock: call.attempt == 1 ? Self.granted.after(gate) : .hang
      default: .message([])
      }
    }) { peer, gateway in
      let (first, second) = try await Self.waitTwice(gateway, peer, seenBy: RPCPath.lock)
      gate.open()
      #expect(try await first.receive().status == 200)
      await second.close()
      try await peer.wait(for: "its end") { $0.streams(of: RPCPath.lock).allSatisfy { $0.closed != nil } }
      // The gateway has sent its requests about the key by then, on the same connection.
      expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "YQ=="], user: Self.user))
      #expect(peer.record.streams(of: Self.txn).isEmpty)
    }
  }

  /// Neither call knows a revision from before the key: the lower one counts, whichever leaves last.
  @Test func theLastOneToLeaveDeletesTheKeyThatTheFirstOneHasPutThere() async throws {
    let gates = [ScriptedPeer.Gate(), ScriptedPeer.Gate()]
    try await withScriptedEtcd(script: { call in
      switch call.path {
      case RPCPath.range: call.attempt == 1 ? Self.range(5).after(gates[0]) : Self.range(9).after(gates[1])
      case RPCPath.lock: .hang
      default: .message([])
      }
    }) { peer, gateway in
      let (first, second) = try await Self.waitTwice(gateway, peer, seenBy: RPCPath.range)
      for (index, gate) in gates.enumerated() {
        gate.open()
        try await peer.wait(for: "a call") { $0.streams(of: RPCPath.lock).count == index + 1 }
      }
      await first.close()
      try await peer.wait(for: "the end of the first") { $0.streams(of: RPCPath.lock)[0].closed != nil }
      #expect(peer.record.streams(of: Self.txn).isEmpty)
      await second.close()
      let record = try await peer.wait(for: "the deletion") { $0.streams(of: Self.txn).first?.messages.count == 1 }
      let message = try #require(record.streams(of: Self.txn).first?.messages.first)
      let request = try Etcdserverpb_TxnRequest(serializedBytes: message)
      #expect(request.compare.first?.createRevision == 5)
      #expect(request.success.first?.requestDeleteRange.key == Data("l/48".utf8))
    }
  }

  /// The deadline passes while the call waits for another token: its place is given up, and the call is not sent.
  @Test func aLockThatWasGivenUpDuringALoginIsNotSent() async throws {
    let gate = ScriptedPeer.Gate()
    let late = ScriptedPeer.Answer.message(Etcdserverpb_AuthenticateResponse.with { $0.token = "late" }).after(gate)
    try await withScriptedEtcd(
      script: { call in
        switch call.path {
        case RPCPath.range: Self.range(5)
        case RPCPath.lock: call.attempt == 1 ? Self.refusedToken : Self.granted
        default: .message([])
        }
      }, logIn: { call, _ in call.attempt == 1 ? nil : late }
    ) { peer, gateway in
      async let answer = gateway.http.post(
        "/v3/lock/lock", Self.request, user: Self.user, headers: [("Grpc-Timeout", "2S")])
      try await peer.wait(for: "the second login") { $0.streams(of: RPCPath.authenticate).count == 2 }
      // It is not visible from outside that the deadline has passed.
      try await Task.sleep(for: .seconds(4))
      gate.open()
      expectStatus(504, try await answer)
      #expect(peer.record.streams(of: RPCPath.lock).count == 1)
      #expect(peer.record.streams(of: Self.txn).count == 1)
    }
  }

  /// How long a login takes does not say how long its token was valid.
  @Test func aLockWhoseTokensAreAllRefusedEnds() async throws {
    try await withScriptedEtcd(
      script: { $0.path == RPCPath.lock ? Self.refusedToken : Self.range(5) },
      logIn: { _, _ in
        Thread.sleep(forTimeInterval: 1.1)
        return nil
      }
    ) { peer, gateway in
      let answer = try await gateway.http.post(
        "/v3/lock/lock", Self.request, user: Self.user, headers: [("Grpc-Timeout", "60S")])
      expectStatus(401, answer)
      // A new token is tried again a few times, as a member may be behind; but no login follows the second.
      #expect(peer.record.streams(of: RPCPath.lock).count <= 10)
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 2)
    }
  }
}
