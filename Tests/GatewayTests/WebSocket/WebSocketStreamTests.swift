import Foundation
import TestSupport
import Testing

/// Streams over WebSockets: full duplex.
@Suite(.repeatedAfterPauses(of: .seconds(2))) struct WebSocketStreamTests {
  @Test(arguments: EtcdVersion.allCases)
  func watchesComeAndGoOnOneSocket(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      // Two in one message, as the stock gateway reads all messages as one sequence; then one more.
      try await socket.send(#" {"create_request":{"key":"YQ=="}} {"create_request":{"key":"Yg==","watch_id":"7"}} "#)
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      #expect(try await socket.receiveJSON()["result"]?["watch_id"] == "7")
      try await etcd.call("/v3/kv/put", ["key": "Yg==", "value": "MQ=="])
      let event = try await socket.receiveJSON()
      #expect(event["result"]?["watch_id"] == "7" && event["result"]?["events"]?[0]?["kv"]?["value"] == "MQ==")
      try await socket.send(["cancel_request": ["watch_id": "7"]])
      let canceled = try await socket.receiveJSON()
      #expect(canceled["result"]?["canceled"] == true && canceled["result"]?["watch_id"] == "7", "\(canceled)")
      try await socket.send(["create_request": ["key": "Yw==", "watch_id": "9"]])
      #expect(try await socket.receiveJSON()["result"]?["watch_id"] == "9")
      try await etcd.call("/v3/kv/put", ["key": "Yg==", "value": "Mg=="])
      try await etcd.call("/v3/kv/put", ["key": "YQ==", "value": "Mw=="])
      #expect(try await socket.receiveJSON()["result"]?["events"]?[0]?["kv"]?["value"] == "Mw==")
      try await socket.send(.close(1000))
      #expect(try await socket.receiveClose() == 1000)
      _ = try await eventually("end of the watchers") { try await etcd.watchers() == 0 ? true : nil }
    }
  }

  @Test func aRequestThatIsNoneEndsTheStream() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      for bad in [#"{"create_request":{"key":"*"}}"#, "{", "7", #"{"create_request":{"key":"YQ=="}} ]"#] {
        let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
        try await socket.send(["create_request": ["key": "YQ=="]])
        #expect(try await socket.receiveJSON()["result"]?["created"] == true)
        try await socket.send(bad)
        var answer = try await socket.receiveJSON()
        if answer["result"] != nil { answer = try await socket.receiveJSON() }
        let error = try #require(answer["error"])
        #expect(error["grpc_code"] == 3 && error["http_code"] == 400, "\(error)")
        #expect(error["message"]?.string?.hasPrefix("the message: ") == true)
        #expect(try await socket.receiveClose() == 1007)
      }
      _ = try await eventually("end of the watchers") { try await etcd.watchers() == 0 ? true : nil }
    }
  }

  @Test func whoMayNotIsTold() async throws {
    try await withAuth(.v3_5) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch", user: "ann:wrong")
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["error"]?["http_code"] == 401)
      #expect(try await socket.receiveClose() == 1008)
    }
  }

  @Test func aSnapshotEndsWellByItself() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/maintenance/snapshot")
      try await socket.send("")
      var size: Int?
      var count = 0
      while case .text(let text) = try await socket.receive() {
        let result = try #require(try JSON(parsing: Array(text.utf8))["result"])
        let blob = try #require(Data(base64Encoded: result["blob"]?.string ?? ""))
        count += blob.count
        size = size ?? (blob.count + (Int(result["remaining_bytes"]?.string ?? "0") ?? 0))
      }
      // etcd's own count does not include the digest at the end.
      #expect(count > 0 && size.map { count - $0 } == 32, "\(count) of \(size ?? 0) bytes")
    }
  }

  @Test func theGatewayStops() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      gateway.process.signal(SIGTERM)
      #expect(try await socket.receiveClose() == 1001)
      #expect(try await gateway.process.exit() == .code(0))
    }
  }

  @Test func aClientThatDoesNotReadIsCut() async throws {
    let limits = ["--stall-timeout", "15s", "--stream-backlog", "65536", "--max-streams", "1"]
    try await withEtcdAndGateway(.v3_5, gateway: limits) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch")
      await socket.connection.setReceiveBuffer(bytes: 64 << 10)
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      let value = String(repeating: "x", count: 1 << 20).base64
      for _ in 0..<8 { try await etcd.call("/v3/kv/put", ["key": "YQ==", "value": .string(value)]) }
      // Once it is given up its place is free.
      _ = try await eventually("room") { try? await WebSocketClient.connect(gateway.url, "/v3/watch") }
      await socket.connection.setReceiveBuffer(bytes: 4 << 20)
      // The queued messages, whole, then the reason.
      var last = try await socket.receiveJSON()
      while last["result"] != nil { last = try await socket.receiveJSON() }
      #expect(last["error"]?["message"]?.string == "the client does not read (--stall-timeout)", "\(last)")
      #expect(try await socket.receiveClose() == 1008)
    }
  }

  @Test func requestsComeNoFasterThanEtcdAnswersThem() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      try await etcd.call("/v3/lease/grant", ["ID": "77", "TTL": "600"])
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/lease/keepalive")
      try await socket.send(["ID": "77"])
      #expect(try await socket.receiveJSON()["result"]?["TTL"] == "600")
      let requests = (0..<50_000).flatMap { _ in
        WebSocketFrame(WebSocketFrame.Opcode.text, Array(#"{"ID":"77"}"#.utf8)).encoded()
      }
      let before = gateway.process.residentBytes
      etcd.pause()
      // Until the gateway reads no more.
      await #expect(throws: HTTPFailure.timedOut) {
        while true { try await socket.connection.send(requests, timeout: .seconds(2)) }
      }
      #expect(gateway.process.residentBytes - before < 4 << 20)
      etcd.resume()
      for _ in 0..<1000 { #expect(try await socket.receiveJSON()["result"]?["TTL"] == "600") }
    }
  }

  @Test func aStreamMayHaveATimeLimit() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch", headers: [("Grpc-Timeout", "5S")])
      try await socket.send(["create_request": ["key": "YQ=="]])
      #expect(try await socket.receiveJSON()["result"]?["created"] == true)
      #expect(try await socket.receiveJSON()["error"]?["grpc_code"] == 4)
      #expect(try await socket.receiveClose() == 1011)
    }
  }
}
