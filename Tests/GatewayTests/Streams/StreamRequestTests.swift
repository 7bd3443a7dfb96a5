import TestSupport
import Testing

/// Requests of streams, right and wrong.
@Suite(.timeLimit(.minutes(15)))
struct StreamRequestTests {
  private static let malformed = [
    "", " \n", "{}", "null", "[]", "7", "{", "x", #"{"create_request":7}"#, #"{"create_request":{"key":"*"}}"#,
    #"{"create_request":{"key":"YQ=="}} x"#, #"{"create_request":{"key":"YQ=="}} {"create_request":"#,
    #"{"create_request":{"key":"YQ=="},"cancel_request":{}}"#,
  ]

  /// The gateway inside etcd lets such a request hang, or accepts a part of it.
  @Test(arguments: malformed)
  func aMalformedWatchIsRefused(_ body: String) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let response = try await gateway.http.post("/v3/watch", body)
      #expect(response.status == 400 && response.code == 3 && response.message?.isEmpty == false, "\(response)")
      #expect(try await etcd.watchers() == 0)
    }
  }

  @Test(arguments: [" ", "[]", "{", #"{"ID":"x"}"#, #"{"ID":"1"} {"ID":"x"}"#])
  func aMalformedKeepaliveIsRefused(_ body: String) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let response = try await gateway.http.post("/v3/lease/keepalive", body)
      #expect(response.status == 400 && response.code == 3, "\(response)")
      #expect(try await etcd.callsStarted(of: "LeaseKeepAlive") == 0)
    }
  }

  @Test func streamsAreAskedForByPost() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for path in ["/v3/watch", "/v3/lease/keepalive", "/v3/maintenance/snapshot", "/v3/election/observe"] {
        let response = try await gateway.http.get(path)
        #expect(response.status == 405 && response[header: "Allow"] == "POST, OPTIONS", "\(path): \(response)")
      }
    }
  }

  @Test func aBodyInChunksIsABody() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
      for part in [#"{"create_request":{"key":"#, #""YQ=="}}{"create_"#, #"request":{"key":"Yg=="}}"#] {
        try await connection.send(String(part.utf8.count, radix: 16) + "\r\n" + part + "\r\n")
      }
      try await connection.send("0\r\n\r\n")
      #expect(try await connection.receiveHead().status == 200)
      for _ in 0..<2 {
        let part = try #require(try await connection.receivePart())
        #expect(try JSON(parsing: part)["result"]?["created"] == true)
      }
      #expect(try await etcd.watchers() == 2)
    }
  }

  @Test func heartbeatsComeOnRequestBetweenEvents() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let body = #"{"create_request":{"key":"YQ=="}}"#
      let stream = try await JSONStream.open(gateway.url, "/v3/watch?heartbeat=1s", body)
      #expect(try await stream.next()?["created"] == true)
      for number in 1...2 {
        #expect(try await stream.nextLine() == [UInt8(ascii: "\n")])
        let revision = try await etcd.put("a")
        let event = try await stream.next()?["events"]?[0]?["kv"]
        #expect(event?["mod_revision"]?.string == "\(revision)", "event \(number)")
      }
      let response = try await gateway.http.post("/v3/watch?heartbeat=often", body)
      #expect(response.status == 400, "\(response)")
    }
  }

  @Test func theEndOfTheGatewayEndsStreamsAtOnce() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let readers = try await WatchReader.open(20) { _ in try await .open(gateway.url) }
      try await gateway.stop()
      for reader in readers {
        let message = try #require(try await reader.stream.nextMessage())
        #expect(message["error"]?["grpc_code"] == 14 && message["error"]?["http_code"] == 503, "\(message)")
        #expect(try await reader.stream.nextMessage() == nil)
      }
      try await etcd.awaitWatchers(0)
    }
  }

  @Test func streamsBeyondTheLimitAreRefused() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-streams", "2"]) { etcd, gateway in
      let readers = try await WatchReader.open(2) { _ in try await .open(gateway.url) }
      let body = #"{"create_request":{"key":"YQ=="}}"#
      let response = try await gateway.http.post("/v3/watch", body)
      #expect(response.status == 429 || response.status == 503, "\(response)")
      await readers[0].stream.close()
      _ = try await eventually("place of another stream") { try? await WatchReader.open(gateway.url) }
    }
  }
}
