import Foundation
import TestSupport
import Testing

/// Unary calls over WebSockets.
@Suite struct WebSocketCallTests {
  @Test(arguments: EtcdVersion.allCases)
  func callsAreAnsweredInTheirOrder(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let puts = try await WebSocketClient.connect(gateway.url, "/v3/kv/put")
      for index in 0..<200 { try await puts.send(["key": "YQ==", "value": .string("\(index)".base64)]) }
      let revisions = try await (0..<200).asyncMap { _ in try await puts.receiveJSON()["header"]?["revision"]?.string }
      #expect(revisions == (2..<202).map { "\($0)" })
      let ranges = try await WebSocketClient.connect(gateway.url, "/v3beta/kv/range")
      try await ranges.send(["key": "YQ=="])
      #expect(try await ranges.receiveJSON()["kvs"]?[0]?["value"] == .string("199".base64))
      try await ranges.send(.close(1000))
      #expect(try await ranges.receiveClose() == 1000)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anErrorIsTheAnswerToOneCall(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      for body in [#"{"key":"YQ==","revision":"999"}"#, #"{"key":"YQ==","limit":"x"}"#, "[]", "{", ""] {
        try await socket.send(body)
        let plain = try await gateway.http.post("/v3/kv/range", body)
        let answer = try await socket.receiveJSON()
        #expect(answer["code"] == (try plain.json["code"]))
        let message = plain.message?.replacingOccurrences(of: "the request body:", with: "the message:")
        #expect(answer["message"]?.string == message && answer["error"] == answer["message"], "\(body): \(answer)")
      }
      try await socket.send(["key": "YQ=="])
      #expect(try await socket.receiveJSON()["header"]?["revision"] == "1")
    }
  }

  @Test func aMistakeMayBeStrictlySpeakingOne() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let lenient = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      try await lenient.send(#"{"kee":"YQ=="} 7"#)
      #expect(try await lenient.receiveJSON()["code"] == 3, "etcd: key is not provided")
      let strict = try await WebSocketClient.connect(
        gateway.url, "/v3/kv/range", headers: [("Prefer", "handling=strict")])
      #expect(strict.head["Preference-Applied"] == "handling=strict")
      try await strict.send(#"{"kee":"YQ=="}"#)
      let answer = try await strict.receiveJSON()
      #expect(answer["message"]?.string == "the message: kee: unknown field (at byte 1)", "\(answer)")
    }
  }

  @Test(arguments: ["/v3/kv/range", "/v3/maintenance/snapshot", "/v3/election/observe", "/v3/watch"])
  func aSubprotocolIsNoAuthorizationHeader(_ path: String) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let refusal = await #expect(throws: WebSocketClient.RequestError.self) {
        _ = try await WebSocketClient.connect(
          gateway.url, path, subprotocols: ["Bearer", "Basic \("u:p".base64)"])
      }
      #expect(refusal?.response.status == 400)
      expectStatus(200, try await gateway.http.get("/livez"))
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func credentialsComeWithTheHandshake(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      func answer(_ user: String? = nil, _ subprotocols: [String] = [], _ headers: [(String, String)] = [])
        async throws -> JSON
      {
        let socket = try await WebSocketClient.connect(
          gateway.url, "/v3/kv/range", user: user, subprotocols: subprotocols, headers: headers)
        #expect(socket.head["Sec-WebSocket-Protocol"] == (subprotocols.isEmpty ? nil : "Bearer"))
        for _ in 0..<2 {
          try await socket.send(["key": "YQ=="])
          let first = try await socket.receiveJSON()
          try await socket.send(["key": "YQ=="])
          #expect(try await socket.receiveJSON()["code"] == first["code"])
          return first
        }
        return .null
      }
      let token = try await fixture.etcd.token(user: "ann", password: "annpw")
      #expect(try await answer("ann:annpw")["header"] != nil)
      #expect(try await answer(nil, ["Bearer", token])["header"] != nil)
      #expect(try await answer(nil, [], [("Authorization", "Bearer \(token)")])["header"] != nil)
      #expect(try await answer()["message"] == "etcdserver: user name is empty")
      #expect(try await answer("ann:wrong")["code"] == 3)
      #expect(try await answer(nil, ["Bearer", "nonsense"])["code"] == 16)
    }
  }

  @Test func aLoginIsThrottledHereToo() async throws {
    try await withAuth(.v3_5, gateway: ["--max-login-failures", "1"]) { _, gateway in
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/auth/authenticate")
      try await socket.send(["name": "ann", "password": "annpw"])
      #expect(try await socket.receiveJSON()["token"]?.string?.isEmpty == false)
      var codes: [JSON] = []
      // One failure is forgiven each second: on a busy machine the second guess may not be too many.
      while codes.count < 60 && codes.last != 8 {
        try await socket.send(["name": "ann", "password": .string("wrong\(codes.count)")])
        codes.append(try await socket.receiveJSON()["code"] ?? .null)
      }
      #expect(codes.first == 3 && codes.last == 8, "\(codes)")
    }
  }

  @Test func aLargeAnswerComesInFragmentsAndNoFasterThanItIsRead() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway in
      let value = String(repeating: "x", count: 1 << 20).base64
      for index in 0..<40 {
        try await etcd.call("/v3/kv/put", ["key": .string("k\(index)".base64), "value": .string(value)])
      }
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      await socket.connection.setReceiveBuffer(bytes: 64 << 10)
      let before = gateway.process.residentBytes
      try await socket.send(["key": .string("k".base64), "range_end": .string("l".base64)])
      let first = try await socket.receiveFrame()
      #expect(first.opcode == WebSocketFrame.Opcode.text && !first.isFinal)
      // What etcd would send if it were not held back has come by the time that so many other calls are answered.
      for _ in 0..<50 { #expect(try await gateway.http.post("/v3/kv/range", #"{"key":"azA="}"#).status == 200) }
      #expect(gateway.process.residentBytes - before < 16 << 20)
      var payload = first.payload
      while true {
        let frame = try await socket.receiveFrame()
        #expect(frame.opcode == WebSocketFrame.Opcode.continuation)
        payload += frame.payload
        if frame.isFinal { break }
      }
      #expect(try JSON(parsing: payload)["kvs"]?.array?.count == 40)
      try await socket.send(["key": .string("k0".base64), "count_only": true])
      #expect(try await socket.receiveJSON()["count"] == "1")
    }
  }

  @Test func eachCallHasItsTimeLimit() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let holder = try await WebSocketClient.connect(gateway.url, "/v3/lock/lock")
      try await holder.send(["name": "bA=="])
      _ = try await holder.receiveJSON()
      let waiter = try await WebSocketClient.connect(
        gateway.url, "/v3/lock/lock", headers: [("Grpc-Timeout", "200m")])
      for _ in 0..<2 {
        try await waiter.send(["name": "bA=="])
        #expect(try await waiter.receiveJSON()["code"] == 4)
      }
    }
  }

  @Test(arguments: [false, true])
  func aClientThatLeavesCancelsItsCall(_ resets: Bool) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let holder = try await WebSocketClient.connect(gateway.url, "/v3/lock/lock")
      try await holder.send(["name": "bA=="])
      _ = try await holder.receiveJSON()
      let waiter = try await WebSocketClient.connect(gateway.url, "/v3/lock/lock")
      try await waiter.send(["name": "bA=="])
      _ = try await eventually("call") { try await etcd.callsUnderWay(of: "Lock") == 1 ? true : nil }
      if resets { await waiter.connection.reset() } else { await waiter.close() }
      _ = try await eventually("end of the call") { try await etcd.callsUnderWay(of: "Lock") == 0 ? true : nil }
    }
  }

  @Test func theLastAnswerComesBeforeTheGatewayStops() async throws {
    let gate = ScriptedPeer.Gate()
    let script: ScriptedPeer.Script = { _ in ScriptedPeer.Answer.range.after(gate) }
    try await withScriptedEtcd(gateway: ["--shutdown-timeout", "5m"], script: script) { peer, gateway in
      let idle = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      let waiter = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      try await waiter.send(["key": "YQ=="])
      try await peer.wait(for: "the call") { $0.streams(of: RPCPath.range).count == 1 }
      gateway.process.signal(SIGTERM)
      #expect(try await idle.receiveClose() == 1001)
      gate.open()
      #expect(try await waiter.receiveJSON()["header"] != nil)
      #expect(try await waiter.receiveClose() == 1001)
      #expect(try await gateway.process.exit() == .code(0))
    }
  }
}

extension Sequence {
  fileprivate func asyncMap<Value>(_ transform: (Element) async throws -> Value) async rethrows -> [Value] {
    var values: [Value] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
