import EtcdSchema
import Foundation
import Synchronization
import TestSupport
import Testing

/// Clients that close their sending side after a whole request, and wait for its answer (RFC 9112, section 9.6).
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct HalfCloseTests {
  private static let requests = [
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /keys/half HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "PUT /keys/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none",
    "POST /v3/kv/range HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{\"key\":\"YQ==\"}",
    "GET /livez HTTP/1.0\r\n\r\n",
  ]

  /// Request and end are there when the gateway accepts.
  @Test(arguments: requests, [false, true])
  func aBurstIsAnswered(_ request: String, overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url], ["--shards", "1"]) { secure in
        for _ in 0..<4 {
          var connections: [HTTPConnection] = []
          for _ in 0..<25 {
            let connection =
              overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
            try await connection.send(request)
            await connection.finishSending()
            connections.append(connection)
          }
          for connection in connections {
            let response = try await connection.receive()
            #expect([200, 404].contains(response.status), "\(response)")
            try await connection.receiveClose()
          }
        }
      }
    }
  }

  @Test func allOfSeveralRequestsAreAnswered() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      for _ in 0..<20 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send(Self.requests[0] + Self.requests[2] + Self.requests[1])
        await connection.finishSending()
        for _ in 0..<3 { #expect(try await connection.receive().status == 200) }
        try await connection.receiveClose()
      }
    }
  }

  /// An answer that takes longer than noticing the end does.
  @Test func aSlowAnswerIsWaitedFor() async throws {
    let gate = ScriptedPeer.Gate()
    let message = ScriptedPeer.Answer.range
    try await withScriptedEtcd(script: { call in
      call.path == RPCPath.range ? message.after(gate) : .hang
    }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(Self.requests[3])
      await connection.finishSending()
      // A lock, which waits by design, is given up; by then the range has been waited for as long.
      let lock = try await HTTPConnection.connect(to: gateway.url)
      try await lock.send("POST /v3/lock/lock HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
      await lock.finishSending()
      try await peer.wait(for: "the end of the lock") { record in record.streams.contains { $0.reset != nil } }
      #expect(peer.record.streams(of: RPCPath.range).allSatisfy { $0.reset == nil })
      gate.open()
      #expect(try await connection.receive().status == 200)
    }
  }

  /// Answers that come one after the other: as long as they come, the client counts as connected, however long all of
  /// them take.
  @Test func slowAnswersAreAllWaitedFor() async throws {
    let gates = (0..<8).map { _ in ScriptedPeer.Gate() }
    let next = Mutex(0)
    try await withScriptedEtcd(script: { call in
      guard call.path == RPCPath.range else { return .hang }
      let number = next.withLock { next in
        defer { next += 1 }
        return next
      }
      return ScriptedPeer.Answer.range.after(gates[number % gates.count])
    }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(String(repeating: Self.requests[3], count: gates.count))
      await connection.finishSending()
      // Longer together than the limit for any one answer.
      for gate in gates {
        try await Task.sleep(for: .seconds(1))
        gate.open()
        #expect(try await connection.receive().status == 200)
      }
    }
  }

  @Test func aSlowDownloadIsWaitedFor() async throws {
    let pieces = (0..<8).map { number in
      Etcdserverpb_SnapshotResponse.with {
        $0.remainingBytes = UInt64(7 - number) * 512
        $0.blob = Data(repeating: UInt8(number), count: 512)
      }.wireBytes
    }
    let gates = pieces.map { _ in ScriptedPeer.Gate() }
    let steps = zip(pieces, gates).flatMap { [ScriptedPeer.Step.wait($1), .data(grpcFrame($0))] }
    let answer = ScriptedPeer.Answer([.headers(.grpcResponse)] + steps + [.trailers(.grpcStatus(0))])
    try await withScriptedEtcd(script: { call in
      call.path == EtcdRPC.snapshot.path ? answer : .hang
    }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n")
      await connection.finishSending()
      for gate in gates {
        gate.open()
        try await Task.sleep(for: .seconds(1))
      }
      #expect(try await connection.receiveHead().status == 200)
      // The last bytes would be the hash of the others, and are not.
      _ = try await connection.receive(exactly: 7 * 512)
    }
  }

  /// An incomplete request has no answer, and leaves nothing behind.
  @Test(arguments: [
    "", "GET /liv", "GET /livez HTTP/1.1\r\nHost: x\r\n",
    "PUT /keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfour",
  ])
  func whatIsIncompleteIsClosed(_ bytes: String) async throws {
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(bytes)
      await connection.finishSending()
      try await connection.receiveClose()
      #expect(try await gateway.http.get("/livez").status == 200)
    }
  }
}
