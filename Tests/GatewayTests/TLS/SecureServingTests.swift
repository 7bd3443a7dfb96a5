import EtcdSchema
import Foundation
import Glibc
import TLS
import TestSupport
import Testing

/// Over TLS the same is served as without it, and connections end in the same ways.
///
/// Other suites run with `OVER_TLS` in the environment show that everything else is the same, too.
@Suite(.timeLimit(.minutes(15)))
struct SecureServingTests {
  private static let lock = "POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
  private static let range = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"key\":\"YQ==\"}"

  private func withScriptedPeer(
    _ arguments: [String] = [], script: @escaping ScriptedPeer.Script,
    body: (ScriptedPeer, SecureGateway) async throws -> Void
  ) async throws {
    let peer = try ScriptedPeer(script: script)
    try await withSecureGateway([peer.endpoint], ["--shards", "1"] + arguments) { try await body(peer, $0) }
  }

  @Test(arguments: EtcdVersion.allCases)
  func callsAndBodiesOfAllSizesPass(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      try await withSecureGateway([etcd.url]) { secure in
        let connection = try await secure.connect()
        for size in [0, 1, 1000, 16_383, 16_384, 16_385, 100_000, 1_000_000] {
          let value = Data((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }).base64EncodedString()
          expectStatus(200, try await connection.post("/v3/kv/put", ["key": "YQ==", "value": .string(value)]))
          let answer = try await connection.post("/v3/kv/range", ["key": "YQ=="])
          expectStatus(200, answer)
          #expect(try answer.json["kvs"]?[0]?["value"]?.string ?? "" == value, "\(size) bytes")
        }
        // The same answers, to the byte, as without TLS.
        let plain = try await HTTPClient(secure.plain).post("/v3/kv/range", ["key": "YQ=="])
        #expect(try await connection.post("/v3/kv/range", ["key": "YQ=="]).body == plain.body)
      }
    }
  }

  @Test func pipelinedRequestsAreAnsweredInTheirOrder() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url]) { secure in
        let connection = try await secure.connect()
        let unknown = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in 0..<50 {
          try await connection.send(String(repeating: Self.range + unknown, count: 20))
          for _ in 0..<20 {
            #expect(try await connection.receive().status == 200)
            #expect(try await connection.receive().status == 404)
          }
        }
      }
    }
  }

  @Test func streamsWebSocketsAndSnapshotsAreServed() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url]) { secure in
        let watch = try await JSONStream.open(secure.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
        #expect(try await watch.next() != nil)
        let origin = [("Origin", secure.url)]
        let socket = try await WebSocketClient.connect(secure.url, "/v3/watch", headers: origin)
        try await socket.send(["create_request": ["key": "YQ=="]])
        #expect(try await socket.receiveJSON()["result"]?["created"] == true)
        for number in 0..<20 {
          try await etcd.put("a", "\(number)")
          let value = JSON.string("\(number)".base64)
          for message in [try await watch.next(), try await socket.receiveJSON()] {
            #expect((message?["result"] ?? message)?["events"]?[0]?["kv"]?["value"] == value)
          }
        }
        let snapshot = try await HTTPClient(secure.url).get("/snapshot")
        #expect(snapshot.status == 200)
        #expect(snapshot.body.count > 16_384 && snapshot[header: "Content-Length"] == "\(snapshot.body.count)")
        // A page that came without TLS is of another origin.
        let plain = secure.url.replacing("https://", with: "http://")
        await #expect(throws: WebSocketClient.RequestError.self) {
          try await WebSocketClient.connect(secure.url, "/v3/watch", headers: [("Origin", plain)])
        }
        try await socket.send(.close(1000))
        #expect(try await socket.receiveClose() == 1000)
        await watch.connection.close()
        try await etcd.awaitWatchers(0)
      }
    }
  }

  // MARK: - Clients that leave

  enum Departure: CaseIterable, Sendable { case goodbye, fin, reset, resetAfterMuchMore }

  @Test(arguments: Departure.allCases)
  func aClientThatLeavesCancelsItsCall(_ departure: Departure) async throws {
    try await withScriptedPeer(script: { _ in .hang }) { peer, secure in
      let leaving = try await secure.connect()
      let staying = try await secure.connect()
      for connection in [leaving, staying] { try await connection.send(Self.lock) }
      try await peer.wait(for: "both calls") { $0.streams.count == 2 }
      switch departure {
      case .goodbye: await leaving.close()
      case .fin: await leaving.finishConnection()
      case .reset: await leaving.reset()
      case .resetAfterMuchMore:
        // Requests behind the first until the gateway takes no more: it does not read then.
        let more = Array(String(repeating: Self.range, count: 1000).utf8)
        await #expect(throws: HTTPFailure.timedOut) {
          while true { try await leaving.send(more, timeout: .milliseconds(500)) }
        }
        await leaving.reset()
      }
      try await peer.wait(for: "one reset stream") { record in
        record.streams.contains { $0.reset != nil }
      }
      #expect(peer.record.streams.compactMap(\.reset).count == 1)
      #expect(peer.record.streams(of: RPCPath.range).isEmpty)
    }
  }

  /// A client that has sent close_notify may still read.
  @Test func aClientMaySayGoodbyeBeforeItsAnswers() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url]) { secure in
        let connection = try await secure.connect()
        try await connection.send(Self.range + Self.range + Self.range)
        await connection.finishSending()
        for _ in 0..<3 { #expect(try await connection.receive().status == 200) }
        try await connection.receiveClose()
      }
    }
  }

  // MARK: - Ends of the gateway's

  /// TLS tells a client that knows no lengths whether the answer is complete.
  @Test func aGoodEndHasAGoodbyeAndABrokenOneHasNone() async throws {
    let large = LargeAnswer.message
    try await withScriptedPeer(script: { call in
      if call.attempt == 1 { return .message(large) }
      let beginning = Array(grpcFrame(large)[..<(1 << 20)])
      return .init([.headers(.grpcResponse), .data(beginning), .barrier, .close(abruptly: true)])
    }) { _, secure in
      let request = "POST /v3/kv/range HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
      let good = try await secure.connect()
      try await good.send(request)
      #expect(try await good.receive().body.count >= LargeAnswer.jsonSize)
      let broken = try await secure.connect()
      try await broken.send(request)
      #expect(try await broken.receiveHead().status == 200)
      await #expect(throws: HTTPFailure.truncated) {
        while try await broken.receivePart() != nil {}
      }
    }
  }

  @Test func anAnswerUnderWayIsFinishedBeforeTheEnd() async throws {
    try await withScriptedPeer(["--shutdown-timeout", "1h"], script: { _ in .message(LargeAnswer.message) }) {
      _, secure in
      let idle = try await secure.connect()
      #expect(try await idle.request("GET", "/livez").status == 200)
      let slow = try await secure.connect()
      await slow.setReceiveBuffer(bytes: 65_536)
      try await slow.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      #expect(try await slow.receiveHead().status == 200)
      secure.gateway.process.signal(SIGTERM)
      _ = try await eventually("end of listening") { () -> Bool? in
        do {
          try await HTTPConnection.connect(to: secure.plain).close()
          return nil
        } catch HTTPFailure.refused {
          return true
        }
      }
      var count = 0
      while let part = try await slow.receivePart() { count += part.count }
      #expect(count >= LargeAnswer.jsonSize)
      try await slow.receiveClose()
      try await idle.receiveClose()
      let exit = try await secure.gateway.process.exit()
      #expect(exit == .code(0))
    }
  }

  /// Bytes of an answer that a client has not taken yet when the connection has ended for the gateway are sent all the
  /// same.
  @Test func theRestOfAnAnswerOutlivesItsConnection() async throws {
    try await withScriptedPeer(script: { _ in .message(LargeAnswer.message) }) { _, secure in
      let slow = try await secure.connect()
      await slow.setReceiveBuffer(bytes: 65_536)
      let head = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
      try await slow.send(head)
      #expect(try await slow.receiveHead().status == 200)
      var count = 0
      while let part = try await slow.receivePart() { count += part.count }
      #expect(count >= LargeAnswer.jsonSize)
      try await slow.receiveClose()
    }
  }

  // MARK: - Endurance

  @Test func manyConnectionsLeaveNothingBehind() async throws {
    try await withScriptedPeer(script: { $0.path == RPCPath.range ? .range : .hang }) { peer, secure in
      let count = 1000
      try await secure.gateway.expectNothingLeft(spare: 2 << 20, plainURL: secure.plain) {
        let (url, context) = (secure.url, try secure.client())
        try await withThrowingTaskGroup(of: Void.self) { group in
          for worker in 0..<10 {
            group.addTask {
              for number in 0..<count / 10 {
                let connection = try await HTTPConnection.connect(to: url, tls: context)
                try await connection.send(number % 4 == 3 ? Self.lock : Self.range)
                if number % 4 != 3 { #expect(try await connection.receive().status == 200) }
                switch (number + worker) % 3 {
                case 0: await connection.close()
                case 1: await connection.reset()
                default: await connection.finishConnection()
                }
              }
              // Some never complete the handshake.
              for _ in 0..<count / 100 {
                let port = url.dropFirst("https://".count)
                let connection = try await HTTPConnection.connect(to: "http://\(port)")
                try await connection.send([0x16, 3, 1])
                await connection.close()
              }
            }
          }
          try await group.waitForAll()
        }
        try await peer.wait(for: "the end of all calls") { record in
          record.streams.allSatisfy { $0.closed != nil }
        }
      }
    }
  }
}
