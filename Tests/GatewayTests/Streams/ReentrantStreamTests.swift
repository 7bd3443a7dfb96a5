import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Streams that end while one of their events is being handled: by a request that had waited for that event, or by one
/// too many.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct ReentrantStreamTests {
  private static let observe = "/v3/election/observe"

  /// Creations that are answered one after the other, the cancellation of the first one, and an invalid request, which
  /// waits until one of them is created.
  private static let requests: String = {
    func create(_ id: Int) -> String { #"{"create_request":{"key":"YQ==","watch_id":\#(id)}}"# }
    return create(1) + #"{"cancel_request":{"watch_id":1}}"# + (2...64).map(create).joined() + "{}"
  }()

  @Test func aBadRequestThatHasWaitedForACreationEndsItsStreamAlone() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let other = try await JSONStream.open(gateway.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
      #expect(try await other.next()?["created"] == true)
      for _ in 0..<3 {
        let stream = try await JSONStream.open(gateway.url, "/v3/watch", Self.requests)
        var last: JSON?
        while let next = try await stream.nextMessage() { last = next }
        #expect(last?["error"]?["grpc_code"] == 3, "\(last ?? .null)")
      }
      for _ in 0..<3 {
        let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
        try await socket.send(Self.requests)
        var last = try await socket.receiveJSON()
        while last["error"] == nil { last = try await socket.receiveJSON() }
        #expect(last["error"]?["grpc_code"] == 3, "\(last)")
        #expect(try await socket.receiveClose() != nil)
      }
      #expect(try await gateway.http.get("/livez").status == 200)
      await other.close()
    }
  }

  /// A second request to an observation is ignored, whatever it is.
  @Test func aSecondRequestToAStreamOfOneIsIgnored() async throws {
    let gate = ScriptedPeer.Gate()
    func leader(_ key: String) -> [UInt8] {
      grpcFrame(V3electionpb_LeaderResponse.with { $0.kv.key = .init(key.utf8) }.wireBytes)
    }
    let answer: ScriptedPeer.Answer = [
      .headers(.grpcResponse), .data(leader("a")), .wait(gate), .data(leader("b")),
    ]
    try await withScriptedEtcd(gateway: ["--max-memory", "1M"], script: { _ in answer }) { peer, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, Self.observe)
      try await socket.send(#"{"name":"ZQ=="}"#)
      #expect(try await socket.receiveJSON()["result"]?["kv"]?["key"]?.string == "a".base64)
      // The text fits into the memory for clients, but not together with its encoding.
      try await socket.send(#"{"name":"\#(String(repeating: "eHh4", count: 170_000))"}"#)
      try await socket.send("no JSON")
      try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.ping, []))
      guard case .pong = try await socket.receive() else {
        Issue.record("no pong")
        return
      }
      gate.open()
      #expect(try await socket.receiveJSON()["result"]?["kv"]?["key"]?.string == "b".base64)
      #expect(peer.record.streams.count == 1)
    }
  }

  /// Requests behind others whose answers the client takes slowly.
  @Test func aBadRequestBehindKeepalivesThatAreReadSlowlyEndsItsStreamAlone() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1", "--stream-backlog", "1"]) { _, gateway in
      let requests = String(repeating: #"{"ID":"77"}"#, count: 5000) + "{"
      for _ in 0..<3 {
        let socket = try await WebSocketClient.connect(gateway.url, "/v3/lease/keepalive")
        await socket.connection.setReceiveBuffer(bytes: 2048)
        try await socket.send(requests)
        var last = try await socket.receiveJSON()
        var count = 0
        while last["error"] == nil {
          last = try await socket.receiveJSON()
          count += 1
        }
        #expect(last["error"]?["grpc_code"] == 3, "\(last)")
        #expect(count <= 5000)
      }
      #expect(try await gateway.http.get("/livez").status == 200)
    }
  }

  /// etcd refuses the first creation; the second one's refusal is passed on, too, and nothing is left of the stream.
  @Test(arguments: EtcdVersion.allCases)
  func aRefusalBehindARefusedCreationIsTold(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { _, gateway in
      let create = #"{"create_request":{"key":"Yg==","range_end":"YQ==","watch_id":7}}"#
      for token in ["one", "two"] {
        let stream = try await JSONStream.open(
          gateway.url, "/v3/watch", create + create, headers: [("Authorization", "Bearer \(token)")])
        for _ in 0..<2 { #expect(try await stream.next()?["canceled"] == true) }
        #expect(try await stream.next() == nil)
      }
    }
  }

  // MARK: - Observations

  private static func leader(_ key: String) -> [UInt8] {
    V3electionpb_LeaderResponse.with { $0.kv.key = .init(key.utf8) }.wireBytes
  }

  @Test func anObservationThatEtcdEndsAtOnceEachTimeEnds() async throws {
    try await withScriptedEtcd(script: { _ in .messages([Self.leader("a")]) }) { peer, gateway in
      let stream = try await JSONStream.open(gateway.url, Self.observe, "{}")
      #expect(try await stream.next() != nil)
      let error = try await stream.nextMessage()?["error"]
      #expect(error?["code"] == 14, "\(error ?? .null)")
      #expect(error?["message"]?.string?.hasPrefix("etcd keeps ending the observation at once") == true)
      #expect(try await stream.nextMessage() == nil)
      // On a busy machine some may last long enough not to count.
      #expect((4...8).contains(peer.record.streams.count))
    }
  }

  @Test(arguments: [5, 7, 13])
  func anErrorOfAnObservationIsItsEnd(_ code: Int) async throws {
    try await withScriptedEtcd(script: { _ in .messages([Self.leader("a")], status: code, text: "over") }) {
      peer, gateway in
      let stream = try await JSONStream.open(gateway.url, Self.observe, "{}")
      #expect(try await stream.next() != nil)
      #expect(try await stream.nextMessage()?["error"]?["code"]?.description == "\(code)")
      #expect(try await stream.nextMessage() == nil)
      #expect(peer.record.streams.count == 1)
    }
  }

  /// A message that is too large to be kept.
  @Test(arguments: ["/v3/election/observe", "/v3/maintenance/snapshot"])
  func aMessageWithoutMeasureEndsItsStream(_ path: String) async throws {
    let script: ScriptedPeer.Script = { _ in [.headers(.grpcResponse), .data([0, 0x40, 0, 0, 0])] }
    try await withScriptedEtcd(script: script) { _, gateway in
      let response = try await gateway.http.post(path, "{}")
      expectError(response, 502, code: 13)
      #expect(response.message?.contains("the message has 1073741824 bytes") == true, "\(response)")
    }
  }
}
