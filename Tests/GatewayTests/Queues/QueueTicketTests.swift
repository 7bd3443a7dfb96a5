import EtcdSchema
import Foundation
import TestSupport
import Testing

/// What is left of a lock in sequences that a real etcd does not produce.
@Suite(.timeLimit(.minutes(15)))
struct QueueTicketTests {
  private static let grant = EtcdRPC.leaseGrant.path
  private static let revoke = EtcdRPC.leaseRevoke.path
  private static let keepAlive = EtcdRPC.leaseKeepAlive.path
  private static let txn = EtcdRPC.txn.path
  private static let user = "ann:secret"

  private static func granted(_ call: ScriptedPeer.Call, ttl: Int64 = 60) -> ScriptedPeer.Answer {
    let id = (try? Etcdserverpb_LeaseGrantRequest(serializedBytes: call.message).id) ?? 0
    return .message(
      Etcdserverpb_LeaseGrantResponse.with {
        $0.id = id
        $0.ttl = ttl
      })
  }

  /// An answer that says which key is the first: the call's own, or another one.
  private static func put(_ call: ScriptedPeer.Call, isFirst: Bool) -> ScriptedPeer.Answer {
    let key = (try? Etcdserverpb_TxnRequest(serializedBytes: call.message).compare.first?.key) ?? Data()
    func found(_ key: Data, _ revision: Int64) -> Etcdserverpb_ResponseOp {
      .with {
        $0.responseRange.kvs = [
          .with {
            $0.key = key
            $0.createRevision = revision
          }
        ]
      }
    }
    return .message(
      Etcdserverpb_TxnResponse.with {
        $0.succeeded = true
        $0.responses = [
          .with { $0.responsePut = .init() }, found(key, 7), isFirst ? found(key, 7) : found(Data("l/1".utf8), 3),
        ]
      })
  }

  private static func lease(_ peer: ScriptedPeer, _ path: String) throws -> Int64? {
    // Both requests have the ID: the grant as its second field, the revocation as its first.
    guard let message = peer.record.streams(of: path).last?.messages.first else { return nil }
    return path == grant
      ? try Etcdserverpb_LeaseGrantRequest(serializedBytes: message).id
      : try Etcdserverpb_LeaseRevokeRequest(serializedBytes: message).id
  }

  private static func expectRevoked(_ peer: ScriptedPeer) async throws {
    try await peer.wait(for: "the revocation") { $0.streams(of: revoke).last?.messages.count == 1 }
    #expect(try lease(peer, grant) == lease(peer, revoke))
  }

  private static func ask(
    _ gateway: GatewayProcess, wait: String = "10m", _ headers: [(String, String)] = []
  ) async throws -> HTTPResponse {
    try await gateway.http.post("/locks/l", ["ttl": "60s", "wait": .string(wait)], user: user, headers: headers)
  }

  /// etcd's answers to the grant, the put and the lock, and the client's answer: no failure leaves a lease.
  @Test func whateverFailsTheLeaseIsRevoked() async throws {
    let gate = ScriptedPeer.Gate()
    try await withScriptedEtcd(script: { call in
      switch (call.path, call.attempt) {
      case (Self.grant, 1): [.close(abruptly: true)]
      case (Self.grant, _): Self.granted(call)
      case (Self.txn, 1): .failure(7, "etcdserver: permission denied")
      case (Self.txn, 2): .message(Etcdserverpb_TxnResponse())
      case (Self.txn, 3): Self.put(call, isFirst: true)
      case (Self.txn, 4): Self.put(call, isFirst: false).after(gate)
      case (RPCPath.lock, _): .failure(2, "etcdserver: too tired")
      default: .message([])
      }
    }) { peer, gateway in
      expectStatus(503, try await Self.ask(gateway))
      try await Self.expectRevoked(peer)
      expectError(try await Self.ask(gateway), 403, code: 7)
      try await Self.expectRevoked(peer)
      expectStatus(502, try await Self.ask(gateway))
      try await Self.expectRevoked(peer)
      expectError(try await Self.ask(gateway), 500, code: 2, message: "etcdserver: too tired")
      try await Self.expectRevoked(peer)
      #expect(peer.record.streams(of: Self.revoke).count == 4)

      // The client disconnects before etcd has answered the put.
      let leaving = try await HTTPConnection.connect(to: gateway.url)
      try await leaving.sendRequest(
        "POST", "/locks/l", headers: basic(Self.user), body: Array(#"{"ttl":"60s","wait":"10m"}"#.utf8))
      try await peer.wait(for: "the put") { $0.streams(of: Self.txn).count == 4 }
      await leaving.close()
      _ = try await eventually("the end of its request") {
        // The request for the metrics counts, too.
        try await gateway.http.get("/metrics").text.contains("\netcd_rest_http_requests_in_flight 1\n") ? true : nil
      }
      gate.open()
      try await peer.wait(for: "the revocation") { $0.streams(of: Self.revoke).count == 5 }
      try await Self.expectRevoked(peer)
      #expect(peer.record.streams(of: RPCPath.lock).count == 1)
    }
  }

  /// The lease of a waiting client is renewed meanwhile; the wait ends when the lease is gone all the same.
  @Test func aLeaseIsRenewedWhileItsCallWaits() async throws {
    try await withScriptedEtcd(script: { call in
      switch call.path {
      case Self.grant: Self.granted(call, ttl: 1)
      case Self.txn: Self.put(call, isFirst: false)
      case RPCPath.lock: .hang
      case Self.keepAlive:
        .message(
          Etcdserverpb_LeaseKeepAliveResponse.with {
            $0.id = (try? Etcdserverpb_LeaseKeepAliveRequest(serializedBytes: call.message).id) ?? 0
          })
      default: .message([])
      }
    }) { peer, gateway in
      let answer = try await Self.ask(gateway)
      expectError(answer, 409, code: 10, message: "the lease of the waiting call has ended")
      try await Self.expectRevoked(peer)
      #expect(peer.record.streams(of: RPCPath.lock).allSatisfy { $0.closed != nil })
    }
  }

  /// If the client is the first there is nothing to wait for: an etcd that does not answer is late, and the lock is not
  /// taken.
  @Test func anEtcdThatDoesNotAnswerHasNotLostTheLock() async throws {
    try await withScriptedEtcd(script: { call in
      switch call.path {
      case Self.grant: Self.granted(call)
      case Self.txn: Self.put(call, isFirst: call.attempt == 1)
      case RPCPath.lock: .hang
      default: .message([])
      }
    }) { peer, gateway in
      expectStatus(504, try await Self.ask(gateway, [("Request-Timeout", "2")]))
      try await Self.expectRevoked(peer)
      // It does not even call etcd's lock service.
      expectError(try await Self.ask(gateway, wait: "0s"), 409, code: 10, message: "another client holds the lock")
      try await Self.expectRevoked(peer)
      #expect(peer.record.streams(of: RPCPath.lock).count == 1)
    }
  }
}
