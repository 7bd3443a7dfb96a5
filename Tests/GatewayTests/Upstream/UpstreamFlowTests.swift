import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Deadlines, clients that disconnect, answers larger than memory should hold, and more calls than a member takes.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamFlowTests {
  private let key: JSON = ["key": .string("a".base64)]

  @Test(arguments: ["/v3/kv/put", "/v3/kv/range", "/v3/lock/lock"])
  func aCallWithoutAnAnswerEndsAtItsDeadline(path: String) async throws {
    let limits = ["--request-timeout", "1h", "--max-request-timeout", "1h"]
    try await withScriptedEtcd(gateway: limits, script: { _ in .hang }) { peer, gateway in
      let begin = ContinuousClock.now
      let response = try await gateway.http.post(path, key, headers: [("Grpc-Timeout", "2S")])
      let time = ContinuousClock.now - begin
      expectError(response, 504, code: 4)
      #expect(time > .milliseconds(1500), "\(time)")
      let record = try await peer.wait(for: "the reset of the stream") { $0.streams.first?.reset != nil }
      #expect(record.streams.count == 1)
      #expect(record.streams[0].reset?.code == HTTP2Error.cancel)
    }
  }

  enum Departure: CaseIterable, Sendable { case fin, rst }

  @Test(arguments: Departure.allCases, ["/v3/kv/range", "/v3/lock/lock", "/v3/election/campaign"])
  func aClientThatLeavesCancelsItsCall(departure: Departure, path: String) async throws {
    let limits = ["--request-timeout", "1h", "--max-request-timeout", "1h"]
    try await withScriptedEtcd(gateway: limits, script: { _ in .hang }) { peer, gateway in
      let leaving = try await HTTPConnection.connect(to: gateway.url)
      let staying = try await HTTPConnection.connect(to: gateway.url)
      for connection in [leaving, staying] {
        try await connection.send("POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      }
      try await peer.wait(for: "both calls") { $0.streams.count == 2 }
      switch departure {
      case .fin: await leaving.close()
      case .rst: await leaving.reset()
      }
      let record = try await peer.wait(for: "one reset stream") { record in
        record.streams.contains { $0.reset != nil }
      }
      let reset = record.streams.compactMap(\.reset)
      #expect(reset.count == 1)
      #expect(reset[0].code == HTTP2Error.cancel)
      await staying.close()
      try await peer.wait(for: "the other reset") { $0.streams.allSatisfy { $0.reset != nil } }
    }
  }

  @Test func aClientThatLeavesALargeAnswerCancelsItsCall() async throws {
    try await withScriptedEtcd(script: { _ in .message(LargeAnswer.message) }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      await connection.setReceiveBuffer(bytes: 65_536)
      try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      let head = try await connection.receiveHead()
      #expect(head.status == 200)
      await connection.close()
      let record = try await peer.wait(for: "the reset") { $0.streams.first?.closed != nil }
      #expect(record.streams[0].reset?.code == HTTP2Error.cancel)
      #expect(record.streams[0].bytesSent < LargeAnswer.message.count / 2)
    }
  }

  @Test func aSlowClientHoldsTheWindowNotTheMemory() async throws {
    try await withScriptedEtcd(script: { call in
      call.attempt == 1 ? .message(LargeAnswer.message) : .range
    }) { peer, gateway in
      let before = gateway.process.residentBytes
      let connection = try await HTTPConnection.connect(to: gateway.url)
      await connection.setReceiveBuffer(bytes: 65_536)
      try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      let head = try await connection.receiveHead()
      #expect(head.status == 200)
      #expect(head["Transfer-Encoding"] == "chunked")
      // Each of these calls is a chance for the gateway to read more of the large answer than it should.
      for _ in 0..<50 {
        expectStatus(200, try await gateway.http.post("/v3/kv/range", "{}"))
      }
      #expect(peer.record.streams[0].bytesSent < 8 << 20, "the window is not held")
      #expect(gateway.process.residentBytes - before < 32 << 20)

      var text = JSONSize()
      var maxMemory = 0
      while let part = try await connection.receivePart() {
        text.count(part)
        maxMemory = max(maxMemory, gateway.process.residentBytes)
      }
      #expect(peer.record.streams[0].bytesSent == LargeAnswer.message.count + 5)
      #expect(text.bytes == LargeAnswer.jsonSize)
      #expect(maxMemory - before < 32 << 20)
    }
  }

  /// The bytes before the break, of an answer that announces more.
  private static let beginning = Array(grpcFrame(LargeAnswer.message)[..<(1 << 20)])
  private static let breaks: [[ScriptedPeer.Step]] = [
    [.reset(code: HTTP2Error.internalError)],
    [.reset(code: HTTP2Error.refusedStream)],
    [.close(abruptly: false)],
    [.close(abruptly: true)],
    [.trailers(.grpcStatus(0))],
    [.trailers(.grpcStatus(14, "etcdserver: server stopped"))],
    [.endStream],
  ]

  @Test(arguments: breaks.indices)
  func anAnswerThatBreaksMidwayIsCutNotClosed(index: Int) async throws {
    try await withScriptedEtcd(script: { call in
      guard call.attempt == 1 else { return .range }
      return .init([.headers(.grpcResponse), .data(Self.beginning), .barrier] + Self.breaks[index])
    }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      let head = try await connection.receiveHead()
      #expect(head.status == 200)
      #expect(head["Transfer-Encoding"] == "chunked")
      try await expectCut { while try await connection.receivePart() != nil {} }
      #expect(peer.record.streams(of: RPCPath.range).count == 1)
      expectStatus(200, try await gateway.http.post("/v3/kv/range", key))
    }
  }

  @Test func aLargeMessageWhoseStatusIsAnErrorIsCut() async throws {
    let message = Etcdserverpb_RangeResponse.with {
      $0.kvs = [.with { $0.value = Data(repeating: 1, count: 200_000) }]
    }
    try await withScriptedEtcd(script: { _ in
      .messages([message.wireBytes], status: 13, text: "disk failure")
    }) { _, gateway in
      try await expectCut { try await gateway.http.post("/v3/kv/range", key) }
    }
  }

  @Test func noMoreStreamsAreOpenThanThePeerAllows() async throws {
    var settings = ScriptedPeer.Settings()
    settings.maxConcurrentStreams = 10
    let gate = ScriptedPeer.Gate()
    let patience = ["--dial-timeout", "1h"]
    try await withScriptedEtcd(settings, gateway: patience, script: { _ in ScriptedPeer.Answer.put.after(gate) }) {
      peer, gateway in
      try await withThrowingTaskGroup { group in
        for _ in 0..<100 {
          group.addTask {
            let connection = try await HTTPConnection.connect(to: gateway.url)
            for _ in 0..<20 { expectStatus(200, try await connection.post("/v3/kv/put", key)) }
          }
        }
        try await peer.wait(for: "ten open streams") { $0.streams.count == 10 }
        // An answer from the gateway itself: it has received the calls above.
        expectStatus(200, try await gateway.http.get("/livez"))
        #expect(peer.record.streams.count == 10)
        gate.open()
        try await group.waitForAll()
      }
      #expect(peer.record.streams.count == 2000)
      #expect(peer.record.connections.allSatisfy { $0.maxOpenStreams <= 10 })
    }
  }

  /// If a member takes no call, or nothing of one, it has not executed it, whatever it is.
  @Test(arguments: [true, false]) func whatAMemberDoesNotTakeEndsAsNotSent(isFull: Bool) async throws {
    var settings = ScriptedPeer.Settings()
    if isFull { settings.maxConcurrentStreams = 0 } else { settings.initialWindowSize = 0 }
    let flags = ["--request-timeout", "1h", "--max-request-timeout", "1h", "--dial-timeout", "2s"]
    try await withScriptedEtcd(settings, gateway: flags, script: { _ in .put }) { peer, gateway in
      for path in ["/v3/kv/put", "/v3/kv/range", "/v3/lock/lock", "/v3/kv/txn", "/v3/maintenance/hash"] {
        let response = try await gateway.http.post(path, path == "/v3/kv/txn" ? "{}" : "{\"key\":\"YQ==\"}")
        expectError(
          response, 503, code: 14,
          message: "\(peer.endpoint.dropFirst(7)) takes no more calls for now: the call was not sent")
        #expect(response[header: "Retry-After"] == "1", "\(path)")
      }
      #expect(peer.record.streams.allSatisfy { $0.messages.isEmpty })
    }
  }

  /// One of two members takes no calls: all go to the other one, including those that were given to the first.
  @Test func whatAMemberDoesNotTakeGoesToAnother() async throws {
    let peer = try ScriptedPeer { call in call.path == RPCPath.put ? .put : .range }
    let gate = ScriptedPeer.Gate()
    var one = ScriptedPeer.Settings()
    one.maxConcurrentStreams = 1
    let filling = try ScriptedPeer(settings: one) { _ in ScriptedPeer.Answer.put.after(gate) }
    let flags = ["--shards", "1", "--request-timeout", "1h", "--max-request-timeout", "1h", "--dial-timeout", "2s"]
    try await withGateway([filling.endpoint], flags) { gateway in
      async let first = gateway.http.post("/v3/kv/put", key)
      try await filling.wait(for: "a put") { !$0.streams(of: RPCPath.put).isEmpty }
      // It is the only member, and full.
      expectError(try await gateway.http.post("/v3/kv/put", key), 503, code: 14)
      gate.open()
      expectStatus(200, try await first)
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
      #expect(filling.record.streams.count == 2)
    }
    var settings = ScriptedPeer.Settings()
    settings.maxConcurrentStreams = 0
    let full = try ScriptedPeer(settings: settings) { _ in .put }
    var closed = ScriptedPeer.Settings()
    closed.initialWindowSize = 0
    let deaf = try ScriptedPeer(settings: closed) { _ in .put }
    for other in [full, deaf] {
      try await withGateway([other.endpoint, peer.endpoint], flags) { gateway in
        _ = try await eventually("both members") {
          other.record.connections.count > 0 && peer.record.connections.count > 0 ? true : nil
        }
        for _ in 0..<3 {
          for path in ["/v3/kv/put", "/v3/kv/range"] { expectStatus(200, try await gateway.http.post(path, key)) }
        }
      }
      #expect(other.record.streams.allSatisfy { $0.messages.isEmpty })
    }
  }

  @Test func aLimitThatIsLoweredIsKept() async throws {
    try await withScriptedEtcd(script: { _ in .put }) { peer, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
      peer.limitConcurrentStreams(to: 3)
      let begin = peer.record.streams.count
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
      try await withThrowingTaskGroup { group in
        for _ in 0..<50 {
          group.addTask { expectStatus(200, try await gateway.http.post("/v3/kv/put", key)) }
        }
        try await group.waitForAll()
      }
      #expect(peer.record.streams.count == begin + 51)
      #expect(peer.record.connections.allSatisfy { $0.maxOpenStreams <= 3 })
    }
  }

  @Test func aSmallWindowOfThePeersIsRespected() async throws {
    var settings = ScriptedPeer.Settings()
    settings.initialWindowSize = 1000
    try await withScriptedEtcd(
      settings,
      script: { call in
        .message(Etcdserverpb_PutResponse.with { $0.header.revision = Int64(call.message.count) })
      }
    ) { peer, gateway in
      let value = String(repeating: "x", count: 300_000).base64
      let response = try await gateway.http.post("/v3/kv/put", ["key": "YQ==", "value": .string(value)])
      #expect(response.status == 200)
      #expect(peer.record.streams(of: RPCPath.put).first?.messages.first?.count ?? 0 > 300_000)
    }
  }
}

/// A `RangeResponse` of 50 MB.
enum LargeAnswer {
  private static let values = 50
  private static let valueSize = 1_000_000

  static let message = Etcdserverpb_RangeResponse.with {
    $0.kvs = Array(repeating: .with { $0.value = Data(repeating: 0x61, count: valueSize) }, count: values)
    $0.count = Int64(values)
  }.wireBytes

  /// `{"kvs":[{"value":"…"},…],"count":"50"}`, with base64 for the dots.
  static let jsonSize =
    #"{"kvs":[],"count":"50"}"#.count + values * (#"{"value":""},"#.count + (valueSize + 2) / 3 * 4) - 1
}

/// Counts the bytes of a body that is too large to keep, without the line feed at its end.
private struct JSONSize {
  private(set) var bytes = 0
  private var endsInLineFeed = false

  mutating func count(_ part: [UInt8]) {
    bytes += part.count + (endsInLineFeed ? 1 : 0)
    endsInLineFeed = part.last == UInt8(ascii: "\n")
    if endsInLineFeed { bytes -= 1 }
  }
}
