import TestSupport
import Testing

/// Clients that take their time to send a request, on purpose or not.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct SlowClientTests {
  private static let arguments = ["--header-timeout", "500ms", "--shards", "1"]

  /// Sends a byte every now and then until the gateway closes the connection.
  /// - Throws: `HTTPFailure.timedOut` if the gateway never does.
  private func trickle(_ byte: String, over connection: HTTPConnection) async throws -> HTTPResponse {
    let trickling = Task {
      while true {
        try await connection.send(byte)
        try await Task.sleep(for: .milliseconds(50))
      }
    }
    defer { trickling.cancel() }
    return try await connection.receive()
  }

  private static let heads = ["", "G", "GET /livez HTTP/1.1\r\nHost: x\r\nX: ", "POST /v3/kv/put HTTP/1.1\r\n"]

  @Test(arguments: heads, [false, true])
  func aHeadHasAnEnd(_ head: String, overTLS: Bool) async throws {
    try await withSecureGateway(["http://127.0.0.1:1"], Self.arguments) { secure in
      let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
      try await connection.send(head + "a")
      let response = try await trickle("a", over: connection)
      expectError(response, 408, code: 4, "a head that trickles")
      let silent = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
      try await silent.send(head + "a")
      expectError(try await silent.receive(timeout: suiteLimit), 408, code: 4, "a head that stops")
      try await silent.receiveClose()
    }
  }

  /// The second request on a connection has the same limit as the first.
  @Test(arguments: [false, true]) func soHasALaterHead(_ overTLS: Bool) async throws {
    try await withSecureGateway(["http://127.0.0.1:1"], Self.arguments) { secure in
      let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
      for _ in 0..<3 {
        #expect(try await connection.get("/livez").status == 200)
        // Longer than a head may take: an idle connection has no head.
        try await Task.sleep(for: .seconds(1))
      }
      try await connection.send("GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
      expectError(try await connection.receive(timeout: suiteLimit), 408, code: 4, "a later head")
    }
  }

  @Test func aConnectionMadeBeforehandIsKept() async throws {
    try await withSecureGateway(["http://127.0.0.1:1"], Self.arguments) { secure in
      let connections = [try await secure.connect(), try await HTTPConnection.connect(to: secure.plain)]
      try await Task.sleep(for: .seconds(2))
      for connection in connections { #expect(try await connection.get("/livez").status == 200) }
    }
  }

  @Test(arguments: [false, true]) func aHeadOnAUnixSocketHasAnEnd(_ isSilent: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let listen = ["--listen", "127.0.0.1:0,unix://\(directory)/socket"]
      try await withGateway(["http://127.0.0.1:1"], listen + Self.arguments) { gateway in
        let connection = try await HTTPConnection.connect(to: gateway.urls[1])
        #expect(try await connection.get("/livez").status == 200)
        try await Task.sleep(for: .seconds(2))
        try await connection.send("GET /livez HTTP/1.1\r\nX: ")
        if isSilent {
          expectError(try await connection.receive(timeout: suiteLimit), 408, code: 4, "a head that stops")
        } else {
          let response = try await trickle("a", over: connection)
          expectError(response, 408, code: 4, "a head that trickles")
        }
      }
    }
  }

  @Test(arguments: ["Content-Length: 1000000", "Transfer-Encoding: chunked"], [false, true])
  func aBodyHasALeastRate(_ framing: String, overTLS: Bool) async throws {
    // The bytes of the first 10 s do not count. For this path etcd is not asked about the client.
    try await withSecureGateway(["http://127.0.0.1:1"], ["--min-body-rate", "100000", "--shards", "1"]) { secure in
      let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
      try await connection.send("POST /nothing HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n1\r\n{\r\n")
      let response = try await trickle("1\r\n \r\n", over: connection)
      expectError(response, 408, code: 4, "a body that trickles")
      let silent = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
      try await silent.send("POST /nothing HTTP/1.1\r\nHost: x\r\n\(framing)\r\n\r\n1\r\n{")
      expectError(try await silent.receive(timeout: suiteLimit), 408, code: 4, "a body that stops")
    }
  }

  /// Bytes that came at once buy no time for later: 2.7 MB at 1024 bytes a second would be three quarters of an hour.
  @Test func aBurstBuysNoTime() async throws {
    let arguments = ["--min-body-rate", "1024", "--shards", "1", "--access-log", "all"]
    try await withGateway(["http://127.0.0.1:1"], arguments) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(
        "POST /nothing HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow\r\nContent-Length: 2800000\r\n\r\n")
      try await connection.send([UInt8](repeating: 32, count: 2_700_000))
      let start = ContinuousClock.now
      let response = try await connection.receive(timeout: suiteLimit)
      expectError(response, 408, code: 4, "a body that stops")
      #expect(ContinuousClock.now - start < .seconds(600))
      // The request was answered, and counts as such.
      #expect(response[header: "X-Request-Id"] == "slow")
      await connection.close()
      let line = try await eventually("a line of the request") {
        gateway.log.split(separator: "\n").first { $0.contains("request_id=slow") }
      }
      #expect(line.contains("status=408") && line.contains("bytes_out=\(response.body.count)"), "\(line)")
      let metrics = try await gateway.http.get("/metrics").text
      #expect(metrics.contains(#"status="408""#) && !metrics.contains(#"status="499""#))
    }
  }

  /// A client that sends just as fast as it must has all the time that it needs.
  @Test func aBodyAtItsLeastRateIsTaken() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--min-body-rate", "4", "--shards", "1"]) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
      for _ in 0..<25 {
        try await connection.send([UInt8](repeating: 32, count: 40))
        try await Task.sleep(for: .seconds(1))
      }
      expectError(try await connection.receive(timeout: suiteLimit), 404, code: 5, "a body that takes its time")
    }
  }

  /// A proxy's header does not count as something that the client has sent.
  @Test func aConnectionMadeBeforehandByAProxyIsKept() async throws {
    let listen = ["--listen", "127.0.0.1:0,proxy+http://127.0.0.1:0", "--trusted-proxies", "127.0.0.1"]
    try await withGateway(["http://127.0.0.1:1"], listen + Self.arguments) { gateway in
      let port = try #require(gateway.urls.last?.split(separator: ":").last)
      let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
      try await connection.send("PROXY TCP4 198.51.100.7 192.0.2.1 40000 80\r\n")
      try await Task.sleep(for: .seconds(2))
      #expect(try await connection.get("/livez").status == 200)
      // A head has its limit even on a connection that was idle for a moment.
      try await Task.sleep(for: .seconds(2))
      try await connection.send("GET /livez HTTP/1.1\r\n")
      expectError(try await connection.receive(timeout: suiteLimit), 408, code: 4, "a head that stops")
    }
  }

  /// All places that trickling heads have taken are soon free again.
  @Test func othersAreServedSoon() async throws {
    let arguments = ["--max-connections", "20", "--idle-timeout", "10m"] + Self.arguments
    try await withGateway(["http://127.0.0.1:1"], arguments) { gateway in
      var slow: [HTTPConnection] = []
      for _ in 0..<20 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("GET /livez HTTP/1.1\r\nHost: x\r\nX: ")
        slow.append(connection)
      }
      let other = try await HTTPConnection.connect(to: gateway.url)
      try await other.sendRequest("GET", "/livez")
      try await withThrowingTaskGroup { group in
        for connection in slow {
          group.addTask {
            let response = try await trickle("a", over: connection)
            #expect(response.status == 408, "\(response)")
          }
        }
        #expect(try await other.receive().status == 200)
        try await group.waitForAll()
      }
    }
  }
}
