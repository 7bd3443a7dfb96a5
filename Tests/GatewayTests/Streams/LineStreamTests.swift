import EtcdSchema
import Glibc
import TestSupport
import Testing

/// Streams over plain HTTP of all kinds: how they begin, what keeps them alive, and how they end.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct LineStreamTests {
  private static let observe = "/v3/election/observe"
  /// A stream with an end of its own: an observation would continue with another call.
  private static let snapshot = "/v3/maintenance/snapshot"
  private static let election: JSON = ["name": "ZQ=="]

  @Test func theHeadSaysWhatProxiesNeed() async throws {
    try await withScriptedEtcd(script: { _ in .messages([Self.piece]) }) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, Self.snapshot, "{}")
      let head = try await stream.head()
      #expect(head.status == 200)
      #expect(head["Content-Type"] == "application/json")
      #expect(head["Transfer-Encoding"] == "chunked")
      #expect(head["Connection"] == "close")
      #expect(head["X-Accel-Buffering"] == "no")
      #expect(head["Date"]?.hasSuffix(" GMT") == true)
      #expect(try await stream.next()?["blob"]?.string == "piece".base64)
      #expect(try await stream.next() == nil)
      try await stream.connection.receiveClose()
    }
  }

  @Test func anErrorBeforeTheFirstMessageIsAnOrdinaryResponse() async throws {
    try await withScriptedEtcd(script: { _ in .failure(8, "etcdserver: too many requests") }) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let response = try await connection.post(Self.observe, Self.election)
      expectError(response, 429, code: 8, message: "etcdserver: too many requests")
      #expect(response[header: "Content-Length"] != nil)
      // The connection stays usable.
      expectError(try await connection.post(Self.observe, Self.election), 429)
    }
  }

  @Test func anErrorAfterTheFirstMessageIsALineAndAProperEnd() async throws {
    let script: ScriptedPeer.Script = { _ in
      .messages([Self.piece], status: 14, text: "etcdserver: leader changed")
    }
    try await withScriptedEtcd(script: script) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, Self.snapshot, "{}")
      #expect(try await stream.next() != nil)
      let error: JSON = [
        "grpc_code": 14, "http_code": 503, "message": "etcdserver: leader changed",
        "http_status": "Service Unavailable",
        "code": 14,
      ]
      #expect(try await stream.nextMessage() == ["error": error])
      #expect(try await stream.nextMessage() == nil)
    }
  }

  @Test(arguments: [
    ("/v3/watch", "", "expected a JSON value"), ("/v3/watch", " \n", "expected a JSON value"),
    ("/v3/watch", "{", "value 1: unexpected end of input (at byte 1)"),
    ("/v3/watch", "{\"create_request\":{\"key\":\"YQ==\"}} []", "value 2: expected an object (at byte 34)"),
    ("/v3/lease/keepalive", "", "expected a JSON value"), ("/v3/lease/keepalive", "x", "value 1: "),
    ("/v3/election/observe", "[]", "expected an object (at byte 0)"),
  ])
  func aBadRequestStartsNothing(_ path: String, _ body: String, _ reason: String) async throws {
    try await withScriptedEtcd(script: { _ in .hang }) { peer, gateway in
      let response = try await gateway.http.post(path, body)
      expectError(response, 400, code: 3)
      #expect(response.message?.hasPrefix("the request body: \(reason)") == true, "\(response)")
      #expect(peer.record.streams.isEmpty)
    }
  }

  @Test func theWayToAStreamIsThatOfAnyRequest() async throws {
    try await withScriptedEtcd(gateway: ["--max-request-bytes", "1000"], script: { _ in .hang }) { peer, gateway in
      let http = gateway.http
      let wrong = try await http.get("/v3/watch")
      expectError(wrong, 405)
      #expect(wrong[header: "Allow"] == "POST, OPTIONS")
      expectError(try await http.post("/v3/watch/", "{}"), 404)
      expectError(try await http.post("/v3/watch", String(repeating: " ", count: 2000)), 413)
      let zipped = try await http.request(
        "POST", "/v3/watch", headers: [("Content-Encoding", "gzip")], body: [123, 125])
      expectError(zipped, 415)
      let scheme = try await http.request(
        "POST", "/v3/watch", headers: [("Authorization", "Digest x")], body: [123, 125])
      expectChallenge(scheme)
      #expect(peer.record.streams.isEmpty)
    }
  }

  // MARK: - Signs of life

  @Test func heartbeatsComeWhileThereIsNothingElse() async throws {
    try await withScriptedEtcd(script: { _ in .hang }) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, Self.observe + "?heartbeat=1s", "{}")
      // The first one brings the head.
      for _ in 0..<2 { #expect(try await stream.nextLine() == [10]) }
    }
  }

  @Test(arguments: ["", "0s", "900ms", "61m", "soon", "-5s", "nan", "infs"])
  func aHeartbeatOutOfBoundsIsRefused(_ text: String) async throws {
    try await withScriptedEtcd(script: { _ in .hang }) { _, gateway in
      let response = try await gateway.http.post(Self.observe + "?heartbeat=" + text, Self.election)
      expectError(response, 400, code: 3, message: "heartbeat: expected a time from 1s to 1h, not '\(text)'")
    }
  }

  @Test func clientsOfHTTP10GetLinesUntilTheEnd() async throws {
    try await withScriptedEtcd(script: { _ in .messages([Self.piece], status: 5, text: "gone") }) {
      _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST \(Self.snapshot) HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      let all = String(decoding: try await connection.receiveToEnd(), as: UTF8.self)
      #expect(!all.lowercased().contains("chunked"))
      let lines = try #require(all.components(separatedBy: "\r\n\r\n").last).split(separator: "\n")
      #expect(lines.count == 2, "\(all)")
      #expect(lines.first?.hasPrefix("{\"result\":{") == true)
      #expect(lines.last?.hasPrefix("{\"error\":{\"grpc_code\":5,") == true)
    }
  }

  // MARK: - Limits

  @Test func aTimeLimitEndsAStream() async throws {
    try await withScriptedEtcd(script: { _ in Self.leaderThenNothing }) { peer, gateway in
      let open = try await JSONStream.open(gateway.url, Self.observe, "{}", headers: [("Grpc-Timeout", "3S")])
      #expect(try await open.next() != nil)
      #expect(try await open.nextMessage()?["error"]?["code"] == 4)
      #expect(try await open.nextMessage() == nil)
      try await peer.wait(for: "the end of the call") { $0.streams.allSatisfy { $0.closed != nil } }
    }
    try await withScriptedEtcd(script: { _ in .hang }) { _, gateway in
      let headers = [("Request-Timeout", "0.3")]
      let response = try await gateway.http.request("POST", Self.observe, headers: headers, body: [123, 125])
      expectError(response, 504, code: 4)
    }
  }

  @Test func streamsBeyondTheLimitAreRefusedUntilOneEnds() async throws {
    try await withScriptedEtcd(gateway: ["--max-streams", "2"], script: { _ in Self.leaderThenNothing }) { _, gateway in
      let first = try await JSONStream.open(gateway.url, Self.observe, "{}")
      let second = try await JSONStream.open(gateway.url, Self.observe, "{}")
      #expect(try await first.next() != nil)
      #expect(try await second.next() != nil)
      let refused = try await gateway.http.post(Self.observe, Self.election)
      expectError(refused, 503, code: 14)
      #expect(refused[header: "Retry-After"] == "5")
      #expect(try await gateway.http.get("/livez").status == 200)
      await first.reset()
      _ = try await eventually("place for another stream") {
        let next = try await JSONStream.open(gateway.url, Self.observe, "{}")
        return try await next.head().status == 200 ? true : nil
      }
    }
  }

  @Test func aClientThatDoesNotReadHoldsEtcdBackAndIsCutInTheEnd() async throws {
    // 200 messages of 64 KiB each: more than the buffers of the kernel, nghttp2 and the gateway hold.
    let message = Etcdserverpb_SnapshotResponse.with { $0.blob = .init(repeating: 7, count: 64 << 10) }.wireBytes
    let script: ScriptedPeer.Script = { _ in .messages(Array(repeating: message, count: 400)) }
    let arguments = ["--stall-timeout", "15s", "--stream-backlog", "100000"]
    try await withScriptedEtcd(gateway: arguments, script: script) { peer, gateway in
      let before = gateway.process.residentBytes
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}", receiveBuffer: 65_536)
      #expect(try await stream.next() != nil)
      let record = try await peer.wait(for: "the end of the call") { $0.streams.contains { $0.closed != nil } }
      let sent = try #require(record.streams.first).bytesSent
      #expect(sent < 400 * message.count / 2, "\(sent) bytes were fetched for a client that does not read")
      #expect(gateway.process.residentBytes - before < 16 << 20)
      // What was on its way, then the error and the proper end, if the client takes it in time.
      var last: JSON?
      while let next = try await stream.nextMessage() { last = next }
      #expect(last?["error"]?["code"] == 8, "\(String(describing: last))")
    }
  }

  @Test func aClientThatNeverComesBackIsReset() async throws {
    let message = Etcdserverpb_SnapshotResponse.with { $0.blob = .init(repeating: 7, count: 64 << 10) }.wireBytes
    let script: ScriptedPeer.Script = { _ in .messages(Array(repeating: message, count: 400)) }
    try await withScriptedEtcd(gateway: ["--stall-timeout", "3s"], script: script) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}", receiveBuffer: 65_536)
      #expect(try await stream.next() != nil)
      // If the client continued to read before, the answer might come to its end.
      _ = try await eventually("the end of the connection") { await stream.connection.isReset ? true : nil }
      try await expectCut { while try await stream.nextMessage() != nil {} }
    }
  }

  @Test func aSlowReaderGetsEverything() async throws {
    let blobs = (0..<100).map { index in
      Etcdserverpb_SnapshotResponse.with {
        $0.remainingBytes = UInt64(index)
        $0.blob = .init(repeating: UInt8(index), count: 64 << 10)
      }.wireBytes
    }
    try await withScriptedEtcd(gateway: ["--stream-backlog", "1"], script: { _ in .messages(blobs) }) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}", receiveBuffer: 65_536)
      for index in 0..<100 {
        let next = try #require(try await stream.next())
        if index > 0 { #expect(next["remaining_bytes"]?.string == "\(index)") }
      }
      #expect(try await stream.next() == nil)
    }
  }

  // MARK: - Clients that leave, and the end of the gateway

  enum Leave: CaseIterable {
    case fin, rst, halfClose
  }

  @Test(arguments: Leave.allCases, [false, true])
  func aClientThatLeavesAnIdleStreamEndsTheCall(_ leave: Leave, hasBegun: Bool) async throws {
    let script: ScriptedPeer.Script = { _ in hasBegun ? Self.leaderThenNothing : .hang }
    try await withScriptedEtcd(script: script) { peer, gateway in
      let descriptors = gateway.process.openDescriptors
      var streams: [JSONStream] = []
      for _ in 0..<8 {
        let stream = try await JSONStream.open(gateway.url, Self.observe, "{}")
        if hasBegun { #expect(try await stream.next() != nil) }
        streams.append(stream)
      }
      try await peer.wait(for: "the calls") { $0.streams.count { $0.halfClosed } == 8 }
      for stream in streams {
        switch leave {
        case .fin: await stream.close()
        case .rst: await stream.reset()
        case .halfClose: await stream.connection.finishSending()
        }
      }
      let record = try await peer.wait(for: "the end of the call") { $0.streams.allSatisfy { $0.closed != nil } }
      #expect(record.streams.allSatisfy { $0.reset?.code == HTTP2Error.cancel })
      // The connections to etcd are left, some of which may have come since.
      _ = try await eventually("end of the connections") {
        gateway.process.openDescriptors <= descriptors + 3 ? true : nil
      }
    }
  }

  /// While there is something for it to take, it may be as slow as others.
  @Test(arguments: [false, true])
  func aHalfClosedClientReadsAsLongAsThereIsSomething(isSlow: Bool) async throws {
    let blob = Etcdserverpb_SnapshotResponse.with { $0.blob = .init(repeating: 7, count: 64 << 10) }.wireBytes
    try await withScriptedEtcd(script: { _ in .messages(Array(repeating: blob, count: 300)) }) { _, gateway in
      let stream = try await JSONStream.open(
        gateway.url, "/v3/maintenance/snapshot", "{}", receiveBuffer: isSlow ? 65_536 : nil)
      await stream.connection.finishSending()
      if isSlow { try await Task.sleep(for: .seconds(3)) }
      for _ in 0..<300 { #expect(try await stream.next() != nil) }
      #expect(try await stream.next() == nil)
    }
  }

  /// A snapshot has an end, which the client waits for: etcd may be slow, too.
  @Test func aHalfClosedClientGetsASnapshotThatPauses() async throws {
    let blob = Etcdserverpb_SnapshotResponse.with { $0.blob = .init([7]) }.wireBytes
    let (first, second) = (ScriptedPeer.Gate(), ScriptedPeer.Gate())
    let script: ScriptedPeer.Script = { _ in
      [
        .wait(first), .headers(.grpcResponse), .data(grpcFrame(blob)), .wait(second), .data(grpcFrame(blob)),
        .trailers(.grpcStatus(0)),
      ]
    }
    try await withScriptedEtcd(script: script) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}")
      await stream.connection.finishSending()
      for gate in [first, second] {
        // The half second, after which a watch would end, passes.
        try await Task.sleep(for: .seconds(2))
        gate.open()
        #expect(try await stream.next() != nil)
      }
      #expect(try await stream.next() == nil)
    }
  }

  /// A client that has left cannot be told from one that waits: so that wait has an end.
  @Test func aSnapshotThatHangsEndsAfterItsClient() async throws {
    let blob = Etcdserverpb_SnapshotResponse.with { $0.blob = .init([7]) }.wireBytes
    let script: ScriptedPeer.Script = { _ in [.headers(.grpcResponse), .data(grpcFrame(blob))] }
    try await withScriptedEtcd(gateway: ["--stall-timeout", "3s"], script: script) { peer, gateway in
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}")
      #expect(try await stream.next() != nil)
      await stream.close()
      try await peer.wait(for: "the end of the call") { $0.streams.first?.reset?.code == HTTP2Error.cancel }
    }
  }

  @Test func manyStreamsThatAreCutShortAreAllTold() async throws {
    let message = Etcdserverpb_SnapshotResponse.with { $0.blob = .init([1]) }.wireBytes
    let script: ScriptedPeer.Script = { _ in .init([.headers(.grpcResponse), .data(grpcFrame(message))]) }
    let arguments = ["--shutdown-timeout", "1ms", "--shards", "1"]
    try await withScriptedEtcd(gateway: arguments, script: script) { _, gateway in
      var streams: [JSONStream] = []
      for _ in 0..<300 {
        let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}")
        #expect(try await stream.next() != nil)
        streams.append(stream)
      }
      gateway.process.signal(SIGTERM)
      for stream in streams {
        #expect(try await stream.nextMessage()?["error"]?["code"] == 14)
        #expect(try await stream.nextMessage() == nil)
      }
    }
  }

  @Test func endlessStreamsEndWithTheGateway() async throws {
    try await withScriptedEtcd(script: { $0.attempt == 1 ? Self.leaderThenNothing : .hang }) { peer, gateway in
      let open = try await JSONStream.open(gateway.url, Self.observe, "{}")
      #expect(try await open.next() != nil)
      let waiting = try await JSONStream.open(gateway.url, Self.observe, "{}")
      try await peer.wait(for: "both calls") { $0.streams.filter(\.halfClosed).count == 2 }
      gateway.process.signal(SIGTERM)
      let error = try await open.nextMessage()?["error"]
      #expect(error?["code"] == 14)
      #expect(error?["message"] == "the gateway is stopping")
      #expect(try await open.nextMessage() == nil)
      expectError(try await waiting.response(), 503, code: 14, message: "the gateway is stopping")
      let exit = try await gateway.process.exit()
      #expect(exit == .code(0))
    }
  }

  @Test func snapshotsGoOnForAWhileWhenTheGatewayStops() async throws {
    let gate = ScriptedPeer.Gate()
    let blob = Etcdserverpb_SnapshotResponse.with { $0.blob = .init([1, 2, 3]) }.wireBytes
    let script: ScriptedPeer.Script = { _ in
      ScriptedPeer.Answer(
        [
          .headers(.grpcResponse), .data(grpcFrame(blob)), .wait(gate), .data(grpcFrame(blob)),
          .trailers(.grpcStatus(0)),
        ])
    }
    try await withScriptedEtcd(script: script) { _, gateway in
      let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}")
      #expect(try await stream.next()?["blob"] == "AQID")
      gateway.process.signal(SIGTERM)
      try await gateway.awaitEndOfListening()
      gate.open()
      #expect(try await stream.next()?["blob"] == "AQID")
      #expect(try await stream.next() == nil)
      await stream.close()
      let exit = try await gateway.process.exit()
      #expect(exit == .code(0))
    }
  }

  // MARK: - Scripted answers

  private static let leader = V3electionpb_LeaderResponse.with {
    $0.kv.key = .init("leader".utf8)
    $0.kv.value = .init("me".utf8)
  }

  private static let piece = Etcdserverpb_SnapshotResponse.with { $0.blob = .init("piece".utf8) }.wireBytes

  private static let leaderThenNothing = ScriptedPeer.Answer(
    [.headers(.grpcResponse), .data(grpcFrame(leader.wireBytes))])
}
