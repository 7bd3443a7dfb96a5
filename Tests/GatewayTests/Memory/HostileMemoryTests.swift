import TestSupport
import Testing

/// Clients that try to make the gateway keep as much as possible. The bounds are generous: real faults exceed them by
/// far.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct HostileMemoryTests {
  private static let megabyte = 1 << 20
  private static let requests = 10_000

  /// Memory settles a moment after its growth.
  private func awaitResident(_ gateway: GatewayProcess, below bytes: Int) async throws {
    _ = try await eventually("less than \(bytes) resident bytes", every: .milliseconds(100)) {
      gateway.process.residentBytes < bytes ? true : nil
    }
  }

  // MARK: Bodies

  @Test(arguments: ["/v3/kv/put", "/v3/watch", "/keys/a"])
  func unfinishedBodiesAreBounded(_ path: String) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-memory", "16M", "--shards", "1"]) { _, gateway in
      let before = gateway.process.residentBytes
      var connections: [HTTPConnection] = []
      for _ in 0..<100 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        let method = path == "/keys/a" ? "PUT" : "POST"
        try await connection.sendRequest(method, path, headers: [("Content-Length", "\(1500 << 10)")])
        do { try await connection.send([UInt8](repeating: 32, count: 1 << 20)) } catch is HTTPFailure {}
        connections.append(connection)
      }
      #expect(gateway.process.residentBytes - before < 64 * Self.megabyte)
      // Small requests are served all the same, in every framing.
      #expect(try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
      let small = try await HTTPConnection.connect(to: gateway.url)
      let head = "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\n"
      try await small.send(head + "Transfer-Encoding: chunked\r\n\r\n7\r\n{\"key\":\r\n7\r\n\"YQ==\"}\r\n0\r\n\r\n")
      #expect(try await small.receive().status == 200)
      let split = try await HTTPConnection.connect(to: gateway.url)
      try await split.send(head + "Content-Length: 14\r\n\r\n{\"key\":")
      // The rest comes after another answer, and so in another turn.
      #expect(try await gateway.http.get("/livez").status == 200)
      try await split.send("\"YQ==\"}")
      #expect(try await split.receive().status == 200)
      // One more is refused at its head, with a time to try again.
      let one = try await HTTPConnection.connect(to: gateway.url)
      try await one.sendRequest("POST", "/v3/kv/put", headers: [("Content-Length", "\(2 << 20)")])
      let refusal = try await one.receive()
      #expect(refusal.status == 503 && refusal[header: "Retry-After"] == "1", "\(refusal)")
      let reason = try refusal.json["error"]?.string ?? ""
      #expect(reason.contains("--max-memory"))
      // Once they have disconnected there is room, and the memory is the system's again.
      for connection in connections { await connection.close() }
      let large = #"{"key":"YQ==","value":"\#(String(repeating: "eHh4", count: 200_000))"}"#
      _ = try await eventually("room") { try await gateway.http.post("/v3/kv/put", large).status == 200 ? true : nil }
      try await awaitResident(gateway, below: before + 24 * Self.megabyte)
    }
  }

  @Test func aBodyOfUnknownLengthBeyondTheBudgetIsRefused() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-memory", "1M", "--shards", "1"]) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.sendRequest("POST", "/v3/kv/put", headers: [("Transfer-Encoding", "chunked")])
      let chunk = Array("10000\r\n".utf8) + [UInt8](repeating: 32, count: 65536) + Array("\r\n".utf8)
      for _ in 0..<18 { try await connection.send(chunk) }
      let answer = try await connection.receive()
      #expect(answer.status == 503 && answer[header: "Retry-After"] == "1", "\(answer)")
      #expect(try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
    }
  }

  // MARK: Answers

  @Test func answersThatNobodyReadsAreBounded() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-memory", "16M", "--shards", "1"]) { etcd, gateway in
      let value = String(repeating: "x", count: 1_000_000).base64
      for number in 0..<4 {
        try await etcd.call("/v3/kv/put", ["key": .string("a\(number)".base64), "value": .string(value)])
      }
      let before = gateway.process.residentBytes
      var connections: [HTTPConnection] = []
      for number in 0..<60 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        await connection.setReceiveBuffer(bytes: 4096)
        let body = #"{"key":"YQ==","range_end":"Yg=="}"#
        if number % 2 == 0 {
          try await connection.sendRequest("POST", "/v3/kv/range", body: Array(body.utf8))
        } else {
          try await connection.sendRequest("GET", "/keys/a0", headers: [("Accept", "application/json")])
        }
        connections.append(connection)
      }
      #expect(try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
      #expect(gateway.process.residentBytes - before < 96 * Self.megabyte)
      for connection in connections { await connection.close() }
      try await awaitResident(gateway, below: before + 24 * Self.megabyte)
      // The end of a connection may be seen after its memory has gone: until then an answer this large may be cut.
      let all = try await eventually("an answer for which there is room again") {
        let all = try? await gateway.http.post("/v3/kv/range", #"{"key":"YQ==","range_end":"Yg=="}"#)
        return all?.status == 200 ? all : nil
      }
      #expect(try all.json["count"] == "4")
    }
  }

  // MARK: WebSockets

  @Test func manyRequestsInOneMessageWaitForTheirAnswersToBeRead() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let create = #"{"create_request":{"watch_id":1,"key":"YQ=="}}"#
      let message = String(repeating: create, count: Self.requests)
      let before = gateway.process.residentBytes
      var sockets: [WebSocketClient] = []
      for _ in 0..<20 {
        let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
        await socket.connection.setReceiveBuffer(bytes: 65536)
        try await socket.send(message)
        sockets.append(socket)
      }
      _ = try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#)
      let grown = gateway.process.residentBytes - before
      #expect(grown < 64 * Self.megabyte, "20 messages hold \(grown) bytes")
      // A client that reads gets an answer to each.
      let socket = sockets[0]
      await socket.connection.setReceiveBuffer(bytes: 4 << 20)
      var answers = 0
      while answers < Self.requests {
        let answer = try await socket.receiveJSON()
        answers += 1
        #expect(answer["result"]?["created"] == true)
        #expect(answers == 1 || answer["result"]?["canceled"] == true)
      }
      for socket in sockets { await socket.close() }
      try await awaitResident(gateway, below: before + 32 * Self.megabyte)
    }
  }

  @Test func manyRequestsInOneBodyWaitForTheirAnswersToBeRead() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let create = #"{"create_request":{"watch_id":1,"key":"YQ=="}}"#
      let count = Self.requests
      let before = gateway.process.residentBytes
      let stream = try await JSONStream.open(
        gateway.url, "/v3/watch", String(repeating: create, count: count), receiveBuffer: 65536)
      #expect(try await stream.nextMessage()?["result"]?["created"] == true)
      #expect(gateway.process.residentBytes - before < 32 * Self.megabyte)
      await stream.connection.setReceiveBuffer(bytes: 4 << 20)
      for _ in 1..<count { #expect(try await stream.nextMessage()?["result"]?["canceled"] == true) }
      await stream.close()
    }
  }

  @Test func messagesThatDoNotEndAreBounded() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-memory", "8M", "--shards", "1"]) { _, gateway in
      let before = gateway.process.residentBytes
      let half = [UInt8](repeating: 32, count: 1 << 20)
      var sockets: [WebSocketClient] = []
      var refused = 0
      for _ in 0..<40 {
        let socket = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
        do {
          try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.text, half, isFinal: false))
          try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.continuation, [32], isFinal: false))
        } catch is HTTPFailure {}
        sockets.append(socket)
      }
      #expect(gateway.process.residentBytes - before < 48 * Self.megabyte)
      for socket in sockets.suffix(20) where try await socket.receiveClose() == 1013 { refused += 1 }
      #expect(refused == 20)
      for socket in sockets { await socket.close() }
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      try await socket.send(#"{"key":"YQ=="}"#)
      #expect(try await socket.receiveJSON()["header"] != nil)
    }
  }

  /// Nobody keeps others out with WebSockets that ask nothing.
  @Test func theOldestWebSocketWithoutARequestGivesWay() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-new-websockets", "2", "--shards", "1"]) { _, gateway in
      var sockets: [WebSocketClient] = []
      for _ in 0..<3 { sockets.append(try await WebSocketClient.connect(gateway.url, "/v3/watch")) }
      #expect(try await sockets[0].receiveClose() == 1013)
      for key in ["YQ==", "Yg=="] {
        for socket in sockets.dropFirst() {
          try await socket.send(JSON.object(["create_request": ["key": .string(key)]]))
          #expect(try await socket.receiveJSON()["result"]?["created"] == true, "\(key)")
        }
        // The others are streams now, and give way to nobody.
        for _ in 0..<3 { await (try await WebSocketClient.connect(gateway.url, "/v3/watch")).close() }
      }
    }
  }

  /// Neither blanks nor pings nor invalid calls make a WebSocket useful.
  @Test func whoAsksNothingGoodTakesNobodysPlace() async throws {
    let arguments = ["--max-streams", "4", "--max-new-websockets", "2", "--idle-timeout", "10s"]
    try await withEtcdAndGateway(.v3_5, gateway: arguments) { _, gateway in
      let blanks = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      let pings = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      // The places of streams are for clients with a valid request.
      let readers = try await WatchReader.open(4) { _ in try await .open(gateway.url) }
      for reader in readers { await reader.stream.close() }
      // Each again and again, more often than the gateway checks the time.
      let talks = [
        Task { while true { try await say(on: blanks) { try await $0.send(" ") } } },
        Task {
          while true {
            try await say(on: pings) {
              try await $0.send(WebSocketFrame(WebSocketFrame.Opcode.ping, []))
              try await $0.send("[]")
            }
          }
        },
      ]
      defer { for talk in talks { talk.cancel() } }
      for socket in [blanks, pings] {
        var close: UInt16?
        while close == nil { if case .close(let code, _) = try await socket.receive() { close = code } }
        #expect(close == 1008)
      }
      _ = try await eventually("places") { try? await WebSocketClient.connect(gateway.url, "/v3/watch") }
    }
  }

  private func say(on socket: WebSocketClient, _ words: (WebSocketClient) async throws -> Void) async throws {
    try await words(socket)
    try await Task.sleep(for: .milliseconds(50))
  }

  // MARK: Watches

  @Test func theWatchesOfOneStreamAreBoundedInBytes() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-watch-bytes", "1048576", "--shards", "1"]) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      let key = { (number: Int) in "\(number)\(String(repeating: "k", count: 300_000))".base64 }
      for number in 0..<3 {
        try await socket.send(["create_request": ["key": .string(key(number))]])
        #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      }
      // A cancelled watch makes room.
      try await socket.send(["cancel_request": ["watch_id": "1"]])
      #expect(try await socket.receiveJSON()["result"]?["canceled"] == true)
      try await socket.send(["create_request": ["key": .string(key(3))]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      try await socket.send(["create_request": ["key": .string(key(4))]])
      let error = try await socket.receiveJSON()["error"]
      let reason = error?["message"]?.string ?? ""
      #expect(reason.contains("--max-watch-bytes"), "\(reason)")
    }
  }

  @Test func watchesCountInTheBudget() async throws {
    let arguments = ["--max-memory", "4M", "--max-watch-bytes", "4194304", "--shards", "1"]
    try await withEtcdAndGateway(.v3_5, gateway: arguments) { _, gateway in
      let before = gateway.process.residentBytes
      let body = #"{"create_request":{"key":"\#(String(repeating: "k", count: 900_000).base64)"}}"#
      var streams: [JSONStream] = []
      var refused: [JSON] = []
      for _ in 0..<12 {
        let stream = try await JSONStream.open(gateway.url, "/v3/watch", body)
        let head = try await stream.head()
        if head.status == 200 {
          #expect(try await stream.nextMessage()?["result"]?["created"] == true)
        } else {
          refused.append(try await stream.response().json)
        }
        streams.append(stream)
      }
      let reasons = refused.map { $0["error"]?.string ?? "" }
      #expect(reasons.count >= 6 && reasons.allSatisfy { $0.contains("--max-memory") }, "\(reasons)")
      #expect(gateway.process.residentBytes - before < 48 * Self.megabyte)
      for stream in streams { await stream.close() }
      _ = try await eventually("room") {
        let stream = try await JSONStream.open(gateway.url, "/v3/watch", body)
        let status = try await stream.head().status
        await stream.close()
        return status == 200 ? true : nil
      }
    }
  }

  // MARK: Crowds

  @Test func aCrowdsMemoryIsGivenBack() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let before = gateway.process.residentBytes
      var connections: [HTTPConnection] = []
      for _ in 0..<1500 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "x", count: 4000))")
        connections.append(connection)
      }
      // The remaining one must not keep the memory of all others.
      let last = connections.removeLast()
      for connection in connections { await connection.close() }
      try await awaitResident(gateway, below: before + 16 * Self.megabyte)
      await last.close()
    }
  }
}
