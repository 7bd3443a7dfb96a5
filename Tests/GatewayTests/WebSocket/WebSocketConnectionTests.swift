import Foundation
import TestSupport
import Testing

/// WebSockets as connections: handshakes, valid and invalid frames, and their ends.
@Suite(.repeatedAfterPauses(of: .seconds(2))) struct WebSocketConnectionTests {
  private static let path = "/v3/kv/range"
  private static let get = #"{"key":"YQ=="}"#

  // MARK: Handshakes

  private func refusal(
    _ gateway: GatewayProcess, _ headers: [(String, String)], path: String = path, subprotocols: [String] = []
  ) async throws -> HTTPResponse {
    let refusal = await #expect(throws: WebSocketClient.RequestError.self) {
      _ = try await WebSocketClient.connect(gateway.url, path, subprotocols: subprotocols, headers: headers)
    }
    return try #require(refusal).response
  }

  @Test func aBadHandshakeIsAnOrdinaryError() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for (headers, status) in [
        ([("Sec-WebSocket-Version", "8")], 426), ([("Sec-WebSocket-Key", "x")], 400), ([("Connection", "close")], 400),
        ([("Origin", "https://evil.example")], 403), ([("Origin", "null")], 403), ([("Authorization", "Basic !")], 401),
        ([("Grpc-Timeout", "x")], 400),
      ] as [([(String, String)], Int)] {
        let response = try await refusal(gateway, headers)
        #expect(response.status == status, "\(headers): \(response)")
        #expect(response.message?.isEmpty == false)
        #expect(response[header: "Sec-WebSocket-Version"] == (status == 426 ? "13" : nil))
      }
      #expect(try await refusal(gateway, [], path: "/v3/nonsense").status == 404)
      #expect(try await refusal(gateway, [], path: "\(Self.path)?heartbeat=x").status == 400)
      #expect(try await refusal(gateway, [("Authorization", "t")], subprotocols: ["Bearer", "t"]).status == 400)
    }
  }

  @Test func whereNoWebSocketIsAskedForNothingChanges() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for path in [Self.path, "/v3/watch"] {
        for headers in [[], [("Connection", "Upgrade"), ("Upgrade", "h2c")]] {
          let response = try await gateway.http.get(path, headers: headers)
          #expect(response.status == 405 && response[header: "Allow"] == "POST, OPTIONS", "\(response)")
        }
      }
      let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
      #expect(try await gateway.http.get("/livez", headers: upgrade).status == 200)
      #expect(try await gateway.http.post(Self.path, Self.get, headers: upgrade).status == 200)
    }
  }

  @Test func pagesOfListedOriginsMay() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--cors", "https://app.example,http://b.example:81"]) { _, gateway in
      for origin in [gateway.url, "https://app.example", "http://b.example:81"] {
        let socket = try await WebSocketClient.connect(gateway.url, Self.path, headers: [("Origin", origin)])
        try await socket.send(Self.get)
        #expect(try await socket.receiveJSON()["header"] != nil)
      }
      #expect(try await refusal(gateway, [("Origin", "http://app.example")]).status == 403)
    }
  }

  @Test func thereAreOnlySoMany() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-streams", "2"]) { _, gateway in
      let first = try await WebSocketClient.connect(gateway.url, Self.path)
      let second = try await WebSocketClient.connect(gateway.url, Self.path)
      for socket in [first, second] {
        try await socket.send(Self.get)
        #expect(try await socket.receiveJSON()["header"] != nil)
      }
      let response = try await refusal(gateway, [])
      #expect(response.status == 503 && response[header: "Retry-After"] != nil, "\(response)")
      await first.close()
      _ = try await eventually("room") { try? await WebSocketClient.connect(gateway.url, Self.path) }
      try await second.send(Self.get)
      #expect(try await second.receiveJSON()["header"] != nil)
    }
  }

  @Test func aFrameMayComeWithTheHandshake() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let head = """
        GET \(Self.path) HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n
        """
      // The second frame comes in two parts, the first of which the server has before it knows of the WebSocket.
      let frame = WebSocketFrame(WebSocketFrame.Opcode.text, Array(Self.get.utf8)).encoded()
      try await connection.send(Array(head.utf8) + frame + frame[..<5])
      let answer = try await connection.receiveHead()
      #expect(answer.status == 101 && answer["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      #expect(answer.headers.filter { $0.name.lowercased() == "connection" }.map(\.value) == ["Upgrade"])
      try await connection.send(Array(frame[5...]) + WebSocketFrame.close(1000).encoded())
      let rest = try await connection.receiveToEnd()
      let first = Int(rest[1])
      #expect(rest[0] == 0x81 && rest[2 + first] == 0x81 && rest.suffix(4) == [0x88, 2, 3, 232], "\(rest)")
      #expect(try JSON(parsing: Array(rest[2..<2 + first]))["header"]?["revision"] == "1")
    }
  }

  // MARK: Frames

  @Test func aMessageMayComeInAnyPieces() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, Self.path)
      for byte in WebSocketFrame(WebSocketFrame.Opcode.text, Array(Self.get.utf8)).encoded() {
        try await socket.connection.send([byte])
      }
      #expect(try await socket.receiveJSON()["header"] != nil)
      try await socket.send(#"{"key":"YQ==","ignored":"Ünï©ödé 🦆"}"#, inFragmentsOf: 1)
      #expect(try await socket.receiveJSON()["header"] != nil)
      // With pings between the fragments, which are answered though the message is not complete.
      try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.text, Array(#"{"key":"#.utf8), isFinal: false))
      for index in 0..<3 {
        try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.ping, [UInt8(index)]))
        #expect(try await socket.receive() == .pong([UInt8(index)]))
        try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.continuation, [], isFinal: false))
      }
      try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.continuation, Array(#""YQ=="}"#.utf8)))
      #expect(try await socket.receiveJSON()["header"] != nil)
    }
  }

  @Test(arguments: [100, 125, 126, 65535, 65536, 1_000_000])
  func messagesOfAnySize(_ count: Int) async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let puts = try await WebSocketClient.connect(gateway.url, "/v3/kv/put")
      let value = String(repeating: "A", count: count / 4 * 4)
      let put: JSON = ["key": "YQ==", "value": .string(value)]
      try await puts.send(put)
      #expect(try await puts.receiveJSON()["header"] != nil)
      try await puts.send(put.description, inFragmentsOf: 5000)
      #expect(try await puts.receiveJSON()["header"] != nil)
      let ranges = try await WebSocketClient.connect(gateway.url, Self.path)
      try await ranges.send(Self.get)
      #expect(try await ranges.receiveJSON()["kvs"]?[0]?["value"] == .string(value))
    }
  }

  private static let text = WebSocketFrame.Opcode.text
  private static let ping = WebSocketFrame.Opcode.ping
  /// Frames that end a WebSocket, and the close code.
  private static let wrong: [(String, [WebSocketFrame], UInt16)] = [
    ("not masked", [WebSocketFrame(text, Array("{}".utf8), isMasked: false)], 1002),
    ("RSV1", [WebSocketFrame(text, Array("{}".utf8), reserved: 4)], 1002),
    ("RSV3", [WebSocketFrame(ping, reserved: 1)], 1002),
    ("opcode 3", [WebSocketFrame(3)], 1002), ("opcode 11", [WebSocketFrame(11)], 1002),
    ("long ping", [WebSocketFrame(ping, [UInt8](repeating: 0, count: 126))], 1002),
    ("ping in parts", [WebSocketFrame(ping, isFinal: false)], 1002),
    ("continuation of nothing", [WebSocketFrame(0, Array("{}".utf8))], 1002),
    ("two beginnings", [WebSocketFrame(text, [123], isFinal: false), WebSocketFrame(text, [125])], 1002),
    ("close of one byte", [WebSocketFrame(WebSocketFrame.Opcode.close, [3])], 1002),
    ("close with 1005", [.close(1005)], 1002), ("close with 65535", [.close(65535)], 1002),
    ("binary", [WebSocketFrame(WebSocketFrame.Opcode.binary, [1])], 1003),
    ("bad UTF-8", [WebSocketFrame(text, [34, 0xff, 34])], 1007),
    ("UTF-8 that ends too soon", [WebSocketFrame(text, [0xf0, 0x9f])], 1007),
    ("too large", [WebSocketFrame(text, [UInt8](repeating: 32, count: 1001))], 1009),
    (
      "too large in parts",
      [WebSocketFrame(text, [UInt8](repeating: 32, count: 900), isFinal: false)]
        + [WebSocketFrame(0, [UInt8](repeating: 32, count: 900))], 1009
    ),
  ]

  @Test func whatIsWrongIsAnsweredByItsCode() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-request-bytes", "1000"]) { _, gateway in
      for (name, frames, code) in Self.wrong {
        let socket = try await WebSocketClient.connect(gateway.url, Self.path)
        try await socket.send(Self.get)
        for frame in frames { try await socket.send(frame) }
        // Later frames are neither answered nor do they prevent the answer.
        try? await socket.send(WebSocketFrame(Self.text, [UInt8](repeating: 32, count: 100_000)))
        #expect(try await socket.receiveJSON()["header"] != nil, "\(name)")
        #expect(try await socket.receiveClose() == code, "\(name)")
      }
    }
  }

  @Test func clientsCloseAsTheyLike() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for code in [1000, 1001, 1011, 3000, 4999] as [UInt16] {
        let socket = try await WebSocketClient.connect(gateway.url, Self.path)
        try await socket.send(.close(code, "Grüße"))
        #expect(try await socket.receiveClose() == code)
      }
      let socket = try await WebSocketClient.connect(gateway.url, Self.path)
      try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.close))
      #expect(try await socket.receiveClose() == nil)
    }
  }

  @Test func aFloodOfPingsTakesNoMemory() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, Self.path)
      await socket.connection.setReceiveBuffer(bytes: 65_536)
      let ping = WebSocketFrame(Self.ping, [UInt8](repeating: 7, count: 125)).encoded()
      let pings = (0..<10_000).flatMap { _ in ping }
      let before = gateway.process.residentBytes
      // Until the gateway reads no more.
      await #expect(throws: HTTPFailure.timedOut) {
        while true { try await socket.connection.send(pings, timeout: .seconds(2)) }
      }
      #expect(gateway.process.residentBytes - before < 8 << 20)
      #expect(try await gateway.http.post(Self.path, Self.get).status == 200)
    }
  }

  // MARK: Time limits

  @Test func whoBeginsNothingOrEndsNothingIsClosed() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--idle-timeout", "5s", "--max-streams", "6"]) { _, gateway in
      // It outlives all others: it has sent a request, and has begun nothing else.
      let get = WebSocketFrame(Self.text, Array(Self.get.utf8)).encoded()
      let calls = try await open(gateway, Self.path, get)
      let watch = WebSocketFrame(Self.text, Array(#"{"create_request":{"key":"YQ=="}}"#.utf8)).encoded()
      let beginning = WebSocketFrame(Self.text, Array("{".utf8), isFinal: false).encoded()
      let cases: [(path: String, bytes: [UInt8], what: String)] = [
        ("/v3/watch", [], "a request"), ("/v3/kv/range", [0x81], "the rest of a message"),
        ("/v3/watch", Array(watch[..<9]), "the rest of a message"),
        ("/v3/watch", watch + watch[..<9], "the rest of a message"),
        ("/v3/watch", watch + beginning, "the rest of a message"),
      ]
      var connections: [HTTPConnection] = []
      for (path, bytes, _) in cases { connections.append(try await open(gateway, path, bytes)) }
      for (connection, item) in zip(connections, cases) {
        var close = WebSocketFrame.close(1008, "\(item.what) did not arrive in time (--idle-timeout)")
        close.isMasked = false
        let received = try await connection.receiveToEnd()
        #expect(received.suffix(close.encoded().count) == close.encoded()[...], "\(item)")
      }
      // Their places are free.
      for _ in 0..<5 { connections.append(try await open(gateway, Self.path)) }
      try await calls.send(get)
      for _ in 0..<2 {
        #expect(try await calls.receive(exactly: 1) == [0x81])
        let count = try await calls.receive(exactly: 1)[0]
        #expect(try JSON(parsing: try await calls.receive(exactly: Int(count)))["header"] != nil)
      }
    }
  }

  /// Does the handshake; `bytes` come with the request.
  private func open(_ gateway: GatewayProcess, _ path: String, _ bytes: [UInt8] = []) async throws -> HTTPConnection {
    let connection = try await HTTPConnection.connect(to: gateway.url)
    let head = """
      GET \(path) HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n
      """
    try await connection.send(Array(head.utf8) + bytes)
    #expect(try await connection.receiveHead().status == 101)
    return connection
  }

  // MARK: Heartbeats

  @Test func aClientThatAnswersPingsStays() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "\(Self.path)?heartbeat=4s")
      for _ in 0..<3 {
        guard case .ping(let payload) = try await socket.receive() else { throw TestSupportError("no ping") }
        try await socket.send(WebSocketFrame(WebSocketFrame.Opcode.pong, payload))
      }
      try await socket.send(Self.get)
      #expect(try await socket.receiveJSON()["header"] != nil)
    }
  }

  @Test func aClientThatAnswersNoPingIsGone() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "\(Self.path)?heartbeat=1s")
      #expect(try await socket.receive() == .ping([]))
      try await socket.connection.receiveClose()
    }
  }
}
