import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Imports while etcd or the client takes its time, and while members are lost.
extension KeyImportTests {
  private static let txn: ScriptedPeer.Answer = .message(
    Etcdserverpb_TxnResponse.with {
      $0.header.revision = 9
      $0.succeeded = true
    })

  private static func isImport(_ call: ScriptedPeer.Call) -> Bool { call.path == EtcdRPC.txn.path }

  @Test(arguments: [false, true])
  func aSlowEtcdHoldsTheClientBack(_ isChunked: Bool) async throws {
    let gate = ScriptedPeer.Gate()
    let script: ScriptedPeer.Script = { Self.isImport($0) ? Self.txn.after(gate) : .range }
    // The client is not to blame for the time that it has to wait.
    let arguments = ["--min-body-rate", "10000000", "--idle-timeout", "3s"]
    try await withScriptedEtcd(gateway: arguments, script: script) { peer, gateway in
      let keys = 40_000
      let body = Array(lines(0..<keys, padding: 400).utf8)
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let framing = isChunked ? ("Transfer-Encoding", "chunked") : ("Content-Length", "\(body.count)")
      try await connection.sendRequest("POST", "/keys", headers: Self.type + [framing])
      let before = gateway.process.residentBytes
      let sending = Task {
        if isChunked {
          let size = 1 << 20
          for start in stride(from: 0, to: body.count, by: size) {
            let chunk = body[start..<min(start + size, body.count)]
            try await connection.send(Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk + [13, 10])
          }
          try await connection.send("0\r\n\r\n")
        } else {
          try await connection.send(body)
        }
      }
      try await peer.wait(for: "as many calls as there may be") { $0.streams(of: EtcdRPC.txn.path).count == 4 }
      // Longer than the rate of a body is measured over, and than a connection may be idle.
      try await Task.sleep(for: .seconds(12))
      #expect(peer.record.streams(of: EtcdRPC.txn.path).count == 4)
      #expect(gateway.process.residentBytes - before < 16 << 20)
      gate.open()
      try await sending.value
      let response = try await connection.receive()
      try expectDone(response, keys: keys)
      // It has reported its progress meanwhile.
      let first = try #require(try answer(response).first)
      #expect(first["keys"] == 0 && first["done"] == nil)
    }
  }

  /// Chunks that were read already come though the client is held back; their fault is reported later.
  @Test func aBadChunkIsRefusedOnceTheClientGoesOn() async throws {
    let gate = ScriptedPeer.Gate()
    let script: ScriptedPeer.Script = { Self.isImport($0) ? Self.txn.after(gate) : .range }
    try await withScriptedEtcd(script: script) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      // Once before that, so that the gateway does not ask about the client between its head and its body.
      try expectDone(try await gateway.http.request("POST", "/keys", headers: Self.type, body: []), keys: 0)
      let chunks = (0..<720).map { number -> String in
        let line = "{\"key\":\"\(number)\",\"value\":\"\"}\n"
        return "\(String(line.utf8.count, radix: 16))\r\n\(line)\r\n"
      }
      let head = "POST /keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
      try await connection.send(
        head + "Transfer-Encoding: chunked\r\n\r\n" + chunks.joined() + "3\n{}\n\r\n0\r\n\r\n")
      try await peer.wait(for: "the calls") { $0.streams(of: EtcdRPC.txn.path).count == 4 }
      // The same while the client is not held back, though calls are under way.
      let other = try await HTTPConnection.connect(to: gateway.url)
      try await other.send(
        head + "Transfer-Encoding: chunked\r\n\r\n" + chunks[..<200].joined() + "3\n{}\n\r\n0\r\n\r\n")
      // On a busy machine a report may have begun the answer.
      for connection in [other, connection] {
        let answer = try await receiveReported(connection)
        #expect([200, 400].contains(answer.status))
        #expect(answer.message == "a line before a chunk of the body is not SIZE CRLF", "\(answer)")
        gate.open()
      }
      try expectDone(
        try await gateway.http.request("POST", "/keys", headers: Self.type, body: Array(line("a").utf8)), keys: 1)
      #expect(!gateway.log.contains("does not do what the gateway relies on"))
    }
  }

  @Test func aClientThatLeavesCancelsTheCalls() async throws {
    let script: ScriptedPeer.Script = { Self.isImport($0) ? .hang : .range }
    for isReset in [true, false] {
      try await withScriptedEtcd(script: script) { peer, gateway in
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", "/keys", headers: Self.type + [("Content-Length", "100000000")])
        try await connection.send(lines(0..<600))
        try await peer.wait(for: "the calls") { $0.streams(of: EtcdRPC.txn.path).count == 4 }
        if isReset { await connection.reset() } else { await connection.close() }
        try await peer.wait(for: "their end") { record in
          record.streams(of: EtcdRPC.txn.path).allSatisfy { $0.reset?.code == HTTP2Error.cancel }
        }
        _ = try await eventually("no request") {
          try await gateway.http.get("/metrics").text.contains("etcd_rest_http_requests_in_flight 1\n") ? true : nil
        }
      }
    }
  }

  @Test(arguments: [false, true])
  func reportsComeWhileTheBodyDoes(_ overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url], ["--shards", "1"]) { secure in
        for (end, isWhole) in [(line("z"), true), ("nonsense\n", false)] {
          let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
          try await connection.sendRequest("POST", "/keys", headers: Self.type + [("Transfer-Encoding", "chunked")])
          func send(_ text: String, then rest: String = "") async throws {
            try await connection.send("\(String(text.utf8.count, radix: 16))\r\n\(text)\r\n\(rest)")
          }
          try await send(lines(0..<10))
          let head = try await connection.receiveHead()
          #expect(head.status == 200 && head["Content-Type"] == "application/x-ndjson" && head["Connection"] == "close")
          // Received lines are put, however few they are.
          var report = try JSON(parsing: try #require(try await connection.receivePart()))
          while report["keys"] == 0 { report = try JSON(parsing: try #require(try await connection.receivePart())) }
          #expect(report["keys"] == 10 && report["done"] == nil)
          try await send(line("y"))
          while report["keys"] != 11 { report = try JSON(parsing: try #require(try await connection.receivePart())) }
          // At once: what is wrong may end the connection before anything else is sent.
          try await send(end, then: "0\r\n\r\n")
          var last = report
          func take() async throws {
            while let part = try await connection.receivePart() { last = try JSON(parsing: part) }
          }
          if isWhole {
            try await take()
            #expect(last["done"] == true && last["keys"] == 12)
            try await connection.receiveClose()
          } else {
            // An answer that has begun as a success must not end as one.
            try await expectCut { try await take() }
            #expect(last["line"] == 12 && last["keys"] == 11 && last["code"] == 3)
          }
        }
        #expect(try await count(HTTPClient(secure.plain)) == 12)
      }
    }
  }

  /// An answer that has begun cannot become a 408.
  @Test(arguments: [false, true])
  func aBodyThatIsTooSlowBreaksTheAnswerOff(_ overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url], ["--min-body-rate", "1024"]) { secure in
        let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
        try await connection.sendRequest("POST", "/keys", headers: Self.type + [("Content-Length", "1000000")])
        try await connection.send(line("a"))
        #expect(try await connection.receiveHead().status == 200)
        await #expect(throws: overTLS ? HTTPFailure.truncated : .closed) {
          while try await connection.receivePart() != nil {}
        }
      }
    }
  }

  // MARK: - Lost members

  /// A member dies, and another one gets its calls.
  @Test func theLossOfAMemberIsSurvived() async throws {
    try await withEtcdCluster(.v3_5, members: 3) { members in
      try await withGateway(members.map(\.url)) { gateway in
        let keys = 5000
        let body = Array(lines(0..<keys, padding: 400).utf8)
        let half = body.count / 2
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", "/keys", headers: Self.type + [("Content-Length", "\(body.count)")])
        try await connection.send(Array(body[..<half]))
        await members[0].kill()
        try await connection.send(Array(body[half...]))
        try expectDone(try await connection.receive(), keys: keys)
        let all = try await gateway.http.get("/keys", headers: [("Accept", "application/x-ndjson")])
        let values = all.text.split(separator: "\n").compactMap { line in
          line.range(of: "value of ").map { line[$0.upperBound...] }
        }
        #expect(values.map { Int($0.prefix(while: \.isNumber)) } == (0..<keys).map { $0 })
      }
    }
  }

  @Test func whatMayHaveBeenPutIsPutAgain() async throws {
    let script: ScriptedPeer.Script = { call in
      guard Self.isImport(call) else { return .range }
      return call.attempt == 1 ? [.close(abruptly: true)] : Self.txn
    }
    try await withScriptedEtcd(script: script) { peer, gateway in
      let response = try await gateway.http.request(
        "POST", "/keys", headers: Self.type, body: Array(lines(0..<100).utf8))
      try expectDone(response, keys: 100)
      #expect(try lastLine(response)["repeated"] == 100)
      let messages = peer.record.streams(of: EtcdRPC.txn.path).flatMap(\.messages)
      #expect(messages.count == 2 && messages[0] == messages[1])
    }
  }

  @Test func membersThatDieOfItAreNotKilledOn() async throws {
    let script: ScriptedPeer.Script = { Self.isImport($0) ? [.close(abruptly: true)] : .range }
    try await withScriptedEtcd(script: script) { peer, gateway in
      for query in ["", "?skip_errors=true"] {
        let response = try await gateway.http.request(
          "POST", "/keys\(query)", headers: Self.type, body: Array(lines(0..<100).utf8))
        expectError(response, 503, code: 14)
        let message = response.message ?? ""
        #expect(message.hasPrefix("lines 1 to 100: ") && message.hasSuffix("; they may have been put"), "\(message)")
        #expect(try response.json["keys"] == 0 && response.json["line"] == 1)
      }
      #expect(peer.record.streams(of: EtcdRPC.txn.path).count == 4)
    }
  }
}
