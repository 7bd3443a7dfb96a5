import Foundation
import TestSupport
import Testing

/// Clients whose requests harm others, with whom they share gRPC streams.
@Suite struct HostileStreamTests {
  /// Clients of the same user that watch the key `a`, over each transport.
  private struct Victims {
    let lines: WatchReader
    let socket: WebSocketClient
    let changes: JSONStream
    let events: KeyWatchReader
    /// Waits for the next change, and then for the one after that.
    let waiting: HTTPConnection

    static func open(_ gateway: GatewayProcess) async throws -> Victims {
      let lines = try await WatchReader.open(gateway.url)
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      let wait = try await JSONStream.open(gateway.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
      #expect(try await wait.next()?["created"] == true)
      let events = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: .events)
      #expect(try await events.head().status == 200)
      let waiting = try await HTTPConnection.connect(to: gateway.url)
      try await waiting.sendRequest("GET", "/keys/a?wait=10m&since=\(lines.createdRevision)")
      return Victims(lines: lines, socket: socket, changes: wait, events: events, waiting: waiting)
    }

    /// All of them see the next change, and nothing else.
    func expectNothingHasHappened(_ etcd: EtcdProcess) async throws {
      let revision = try await etcd.put("a")
      #expect(try await lines.revisions(through: revision) == [revision])
      let event = try await socket.receiveJSON()
      #expect(event["result"]?["events"]?[0]?["kv"]?["mod_revision"]?.string == "\(revision)", "\(event)")
      let change = try await changes.next()
      #expect(change?["events"]?[0]?["kv"]?["mod_revision"]?.string == "\(revision)", "\(change ?? .null)")
      #expect(try await events.nextChange().revision == revision)
      let answer = try await waiting.receive()
      #expect(answer.status == 200, "\(answer)")
      let waited = try answer.json["events"]?.array?.map { $0["mod_revision"]?.number }
      #expect(waited == [Double(revision)], "\(answer)")
      try await waiting.sendRequest("GET", "/keys/a?wait=10m&since=\(revision)")
    }
  }

  private static func creation(_ bytes: Int) -> JSON {
    ["create_request": ["key": .string(String(repeating: "k", count: bytes).base64)]]
  }

  /// etcd accepts `--max-request-bytes` plus 512 KiB; whatever that is set to, no other client is harmed.
  @Test(arguments: EtcdVersion.allCases, [(65_536, 600_000, 500_000), (1_572_864, 2_200_000, 1_900_000)])
  func aWatchThatIsTooLargeIsRefusedAlone(
    _ version: EtcdVersion, _ sizes: (limit: Int, tooLarge: Int, large: Int)
  ) async throws {
    try await withEtcdAndGateway(
      version, etcd: ["--max-request-bytes", "\(sizes.limit)"],
      gateway: ["--shards", "1", "--max-request-bytes", "8388608"]
    ) { etcd, gateway in
      let victims = try await Victims.open(gateway)
      let answer = try await gateway.http.post("/v3/watch", Self.creation(sizes.tooLarge))
      #expect(answer.status == 413, "\(answer)")
      #expect(answer.text.hasPrefix(#"{"error":"grpc: received message larger than max ("#), "\(answer)")
      try await victims.expectNothingHasHappened(etcd)
      // A client that also watches something else loses only this watch.
      try await victims.socket.send(Self.creation(sizes.tooLarge))
      let refusal = try await victims.socket.receiveJSON()["result"]
      #expect(refusal?["created"] == true && refusal?["canceled"] == true && refusal?["watch_id"] == "-1")
      #expect(refusal?["cancel_reason"]?.string?.hasPrefix("rpc error: code = ResourceExhausted desc = ") == true)
      try await victims.expectNothingHasHappened(etcd)
      // A creation that etcd accepts is served.
      try await victims.socket.send(Self.creation(sizes.large))
      let created = try await victims.socket.receiveJSON()["result"]
      #expect(created?["created"] == true && created?["canceled"] == nil, "\(created ?? .null)")
      try await victims.expectNothingHasHappened(etcd)
    }
  }

  @Test(arguments: EtcdVersion.allCases, [-1, Int64.min])
  func aWatchFromANegativeRevisionIsRefused(_ version: EtcdVersion, _ revision: Int64) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      for _ in 0..<3 { try await etcd.put("a") }
      let creation: JSON = ["create_request": ["key": "YQ==", "start_revision": .string("\(revision)")]]
      let answer = try await gateway.http.post("/v3/watch", creation)
      #expect(answer.status == 400, "\(answer)")
      let since = try await gateway.http.get("/keys/a?watch=true&since=\(revision)")
      #expect(since.status == 400, "\(since)")
      let victims = try await Victims.open(gateway)
      try await victims.socket.send(creation)
      let refusal = try await victims.socket.receiveJSON()["result"]
      #expect(refusal?["canceled"] == true && refusal?["watch_id"] == "-1", "\(refusal ?? .null)")
      try await victims.expectNothingHasHappened(etcd)
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      try await socket.send(creation)
      #expect(try await socket.receiveJSON()["error"]?["http_code"] == 400)
    }
  }

  @Test func manyCreationsInOneRequestAreAllServed() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      let victims = try await Victims.open(gateway)
      let count = 900
      let creations = (0..<count).map { (["create_request": ["key": .string("k\($0)".base64)]] as JSON).description }
      let stream = try await JSONStream.open(gateway.url, "/v3/watch", creations.joined())
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      try await socket.send(creations.joined(separator: " "))
      for _ in 0..<count {
        #expect(try await stream.next()?["created"] == true)
        #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      }
      try await victims.expectNothingHasHappened(etcd)
      await stream.close()
      await socket.close()
      // One watcher is left for those that share a key.
      try await etcd.awaitWatchers(1)
    }
  }

  /// If a client takes no answers, its further requests wait with the client.
  @Test func answersThatNobodyReadsAreNotMade() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      let victims = try await Victims.open(gateway)
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      try await socket.send(#"{"create_request":{"key":"Yg==","watch_id":7}}"#)
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      let count = 20_000
      let taken = String(repeating: #"{"create_request":{"key":"Yg==","watch_id":7}}"#, count: count)
      try await socket.send(taken)
      try await victims.expectNothingHasHappened(etcd)
      for _ in 0..<count {
        let refusal = try await socket.receiveJSON()["result"]
        try #require(refusal?["canceled"] == true && refusal?["watch_id"] == "-1", "\(refusal ?? .null)")
      }
      try await socket.send(#"{"cancel_request":{"watch_id":7}}"#)
      #expect(try await socket.receiveJSON()["result"]?["watch_id"] == "7")
    }
  }

  /// Watches that are created and cancelled again and again, by a client that takes all answers.
  @Test func watchesThatComeAndGoHarmNobody() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      let victims = try await Victims.open(gateway)
      try await victims.expectNothingHasHappened(etcd)
      let before = gateway.process.residentBytes
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      let count = 20_000
      let sending = Task {
        let pair = #"{"create_request":{"key":"Yg==","watch_id":7}}{"cancel_request":{"watch_id":7}}"#
        let frames = (0..<100).flatMap { _ in
          WebSocketFrame(WebSocketFrame.Opcode.text, Array(pair.utf8)).encoded()
        }
        for _ in 0..<count / 100 { try await socket.connection.send(frames) }
      }
      defer { sending.cancel() }
      for number in 0..<count {
        let created = try await socket.receiveJSON()["result"]
        try #require(created?["created"] == true && created?["canceled"] == nil, "\(created ?? .null)")
        let canceled = try await socket.receiveJSON()["result"]
        try #require(canceled?["canceled"] == true && canceled?["watch_id"] == "7", "\(canceled ?? .null)")
        if number % 5000 == 0 { try await victims.expectNothingHasHappened(etcd) }
      }
      try await sending.value
      #expect(gateway.process.residentBytes - before < 32 << 20)
      try await victims.expectNothingHasHappened(etcd)
      try await etcd.awaitWatchers(1)
    }
  }

  @Test func clientsThatCreateAndLeaveHarmNobody() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      let victims = try await Victims.open(gateway)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<300 {
          group.addTask {
            let connection = try await HTTPConnection.connect(to: gateway.url)
            let body = #"{"create_request":{"key":"\#("k\(index)".base64)"}}"#
            try await connection.send(
              "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body)
            await connection.reset()
          }
        }
        try await group.waitForAll()
      }
      try await victims.expectNothingHasHappened(etcd)
      try await etcd.awaitWatchers(1)
    }
  }
}
