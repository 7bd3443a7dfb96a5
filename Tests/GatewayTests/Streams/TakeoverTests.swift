import EtcdSchema
import TestSupport
import Testing

/// Connections that are taken over from libmicrohttpd, and others beside them.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct TakeoverTests {
  private static let body = "{\"name\":\"ZQ==\"}"

  private static func observe(_ query: String = "") -> String {
    "POST /v3/election/observe\(query) HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  /// A stream that begins, sends one message, and stays open.
  private static let begun = ScriptedPeer.Answer([
    .headers(.grpcResponse),
    .data(grpcFrame(V3electionpb_LeaderResponse.with { $0.kv.key = .init("k".utf8) }.wireBytes)),
  ])

  private static let script: ScriptedPeer.Script = { $0.path == RPCPath.range ? .range : begun }

  @Test func aStreamMayFollowOtherRequestsOnAConnection() async throws {
    try await withScriptedEtcd(script: Self.script) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for _ in 0..<3 { #expect(try await connection.post("/v3/kv/range", ["key": "YQ=="]).status == 200) }
      try await connection.send(Self.observe())
      #expect(try await connection.receiveHead().status == 200)
      #expect(try await connection.receivePart() != nil)
    }
  }

  @Test func requestsBeforeAStreamInAPipelineAreAnsweredAndThoseAfterItAreNot() async throws {
    let ended = ScriptedPeer.Answer.messages([Etcdserverpb_SnapshotResponse().wireBytes])
    try await withScriptedEtcd(script: { $0.path == RPCPath.range ? .range : ended }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let range = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"key\":\"YQ==\"}"
      let snapshot = "POST /v3/maintenance/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
      try await connection.send(range + range + snapshot + range)
      #expect(try await connection.receive().status == 200)
      #expect(try await connection.receive().status == 200)
      let stream = try await connection.receive()
      #expect(stream.status == 200)
      #expect(stream.text == "{\"result\":{}}\n")
      try await connection.receiveClose()
      #expect(peer.record.streams(of: RPCPath.range).count == 2)
    }
  }

  @Test func whatAClientSendsDuringAStreamDisturbsNothing() async throws {
    try await withScriptedEtcd(script: { _ in Self.begun }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(Self.observe("?heartbeat=1s"))
      #expect(try await connection.receiveHead().status == 200)
      try await connection.send(String(repeating: "GET / HTTP/1.1\r\n\r\n", count: 1000))
      for _ in 0..<3 { #expect(try await connection.receivePart() != nil) }
      #expect(peer.record.streams.count == 1)
    }
  }

  @Test func otherConnectionsGoOnWhileManyAreTakenOver() async throws {
    try await withScriptedEtcd(script: Self.script) { peer, gateway in
      let kept = try await HTTPConnection.connect(to: gateway.url)
      #expect(try await kept.post("/v3/kv/range", ["key": "YQ=="]).status == 200)
      let first = try await JSONStream.open(gateway.url, "/v3/election/observe", Self.body)
      #expect(try await first.next() != nil)
      // That of calls, that of streams and that of logins.
      try await peer.wait(for: "the connections to etcd") { $0.connections.count == 3 }
      let descriptors = gateway.process.openDescriptors
      var streams: [JSONStream] = []
      for _ in 0..<200 {
        let stream = try await JSONStream.open(gateway.url, "/v3/election/observe", Self.body)
        #expect(try await stream.next() != nil)
        streams.append(stream)
        #expect(try await kept.post("/v3/kv/range", ["key": "YQ=="]).status == 200)
      }
      #expect(gateway.process.openDescriptors >= descriptors + 200)
      for (index, stream) in streams.enumerated() {
        if index % 2 == 0 { await stream.close() } else { await stream.reset() }
      }
      _ = try await eventually("end of all other connections") {
        gateway.process.openDescriptors <= descriptors ? true : nil
      }
      await first.close()
      #expect(try await kept.post("/v3/kv/range", ["key": "YQ=="]).status == 200)
      try await peer.wait(for: "the end of all calls") { $0.streams.allSatisfy { $0.closed != nil } }
    }
  }
}
