import EtcdSchema
import TestSupport
import Testing

/// The head of every call as a member of etcd sees it, and the mapping of its answer's status.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamCallTests {
  private let key: JSON = ["key": .string("a".base64)]

  @Test func everyCallIsProperGrpcAndNamesTheGateway() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { peer, gateway in
      for user in ["ann:secret", nil] {
        expectStatus(200, try await gateway.http.post("/v3/kv/range", key, user: user))
      }
      #expect(peer.record.streams.count == 3)
      for stream in peer.record.streams {
        #expect(stream.headers[":method"] == "POST")
        #expect(stream.headers[":scheme"] == "http")
        #expect(stream.headers[":authority"] == "127.0.0.1:\(peer.port)")
        #expect(stream.headers["te"] == "trailers")
        #expect(stream.headers["content-type"] == "application/grpc")
        #expect(stream.headers["grpcgateway-accept"] != nil)
        #expect(stream.headers["user-agent"] != nil)
        #expect(stream.halfClosed && stream.messages.count == 1)
      }
    }
  }

  @Test func aCallHasATimeLimit() async throws {
    try await withScriptedEtcd(gateway: ["--request-timeout", "35s"], script: { _ in .put }) { peer, gateway in
      let cases: [(headers: [(String, String)], milliseconds: ClosedRange<Double>)] = [
        ([], 30_001...35_000),
        ([("Grpc-Timeout", "20S")], 15_001...20_000),
        ([("Grpc-Timeout", "25000m")], 20_001...25_000),
        ([("Request-Timeout", "30")], 25_001...30_000),
        ([("Grpc-Timeout", "1M")], 55_001...60_000),
      ]
      for (headers, _) in cases {
        expectStatus(200, try await gateway.http.post("/v3/kv/put", key, headers: headers))
      }
      let puts = peer.record.streams(of: RPCPath.put)
      try #require(puts.count == cases.count)
      for (stream, expected) in zip(puts, cases) {
        let timeout = try #require(stream.timeoutMilliseconds)
        #expect(expected.milliseconds.contains(timeout), "\(expected.headers): \(timeout)")
      }
    }
  }

  @Test func aClientsTimeLimitIsCapped() async throws {
    try await withScriptedEtcd(script: { _ in .put }) { peer, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key, headers: [("Grpc-Timeout", "99999H")]))
      let timeout = try #require(peer.record.streams(of: RPCPath.put)[0].timeoutMilliseconds)
      #expect(timeout <= 3_600_000)
    }
  }

  @Test func aTimeLimitThatIsNoneIsSaidSo() async throws {
    try await withScriptedEtcd(script: { _ in .put }) { peer, gateway in
      for header in [("Grpc-Timeout", "soon"), ("Grpc-Timeout", "123456789S"), ("Request-Timeout", "-1")] {
        expectError(try await gateway.http.post("/v3/kv/put", key, headers: [header]), 400, code: 3)
      }
      #expect(peer.record.streams(of: RPCPath.put).isEmpty)
    }
  }

  @Test func locksAndCampaignsWaitWithoutLimit() async throws {
    try await withScriptedEtcd(script: { _ in .message([]) }) { peer, gateway in
      let name: JSON = ["name": .string("a".base64)]
      expectStatus(200, try await gateway.http.post("/v3/lock/lock", name))
      expectStatus(200, try await gateway.http.post("/v3/election/campaign", name))
      expectStatus(200, try await gateway.http.post("/v3/lock/lock", name, headers: [("Grpc-Timeout", "5S")]))
      #expect(peer.record.streams(of: RPCPath.lock).map(\.timeoutMilliseconds) == [nil, 5000])
      #expect(peer.record.streams(of: RPCPath.campaign).map(\.timeoutMilliseconds) == [nil])
    }
  }

  /// gRPC's codes and their HTTP statuses, as in etcd's own gateway.
  private static let statuses: [Int: Int] = [
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500,
    14: 503, 15: 500, 16: 401,
  ]

  @Test func everyCodeHasItsHTTPStatus() async throws {
    try await withScriptedEtcd(script: { call in
      let request = try? Etcdserverpb_PutRequest(serializedBytes: call.message)
      return .failure(Int(request?.lease ?? 0), "etcdserver: because")
    }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for (code, status) in Self.statuses {
        // Not a range, which would be repeated while etcd is unavailable.
        let response = try await connection.post("/v3/kv/put", ["key": "YQ==", "lease": .number(Double(code))])
        expectError(response, status, code: code, message: "etcdserver: because")
      }
      let unknown = try await connection.post("/v3/kv/put", ["key": "YQ==", "lease": 99])
      expectError(
        unknown, 502, code: 2,
        message: "etcd sent an invalid answer: its grpc-status is not a number. etcdserver: because")
      #expect(peer.record.streams(of: RPCPath.put).count == Self.statuses.count + 1)
    }
  }

  @Test func etcdsErrorsOfOtherKindsAreToldByTheirMessage() async throws {
    try await withScriptedEtcd(script: { call in
      switch call.path {
      case RPCPath.put: .failure(2, "etcdserver: too many requests")
      // Before an anonymous grant the gateway asks whether authentication is on.
      case RPCPath.range: .range
      default: .failure(2, "not a primary lessor")
      }
    }) { _, gateway in
      let tooMany = try await gateway.http.post("/v3/kv/put", key)
      expectError(tooMany, 429, message: "etcdserver: too many requests")
      #expect(tooMany[header: "Retry-After"].flatMap { Int($0) } ?? 0 > 0)
      let lessor = try await gateway.http.post("/v3/lease/grant", ["TTL": 5])
      expectError(lessor, 503, message: "not a primary lessor")
    }
  }

  @Test func anEmptyUserNameWithoutCredentialsAsksForThem() async throws {
    try await withScriptedEtcd(script: { _ in .failure(3, "etcdserver: user name is empty") }) { peer, gateway in
      expectChallenge(try await gateway.http.post("/v3/kv/put", key))
      #expect(peer.record.streams.count == 1)
    }
  }

  @Test(
    arguments: [
      ("100 % ü\n☃", nil), ("etcdserver: 50%25", nil), ("plain", nil), ("50%zz%4", "50%zz%4"), ("%E2%98%83%", "☃%"),
    ] as [(String, String?)])
  func messagesArePercentDecoded(text: String, decodedFromRaw: String?) async throws {
    try await withScriptedEtcd(script: { _ in
      guard decodedFromRaw != nil else { return .failure(9, text) }
      return [.trailers(.grpcResponse + [.init("grpc-status", "9"), .init("grpc-message", text)])]
    }) { _, gateway in
      expectError(try await gateway.http.post("/v3/kv/put", key), 400, code: 9, message: decodedFromRaw ?? text)
    }
  }

  @Test func aStatusMayComeAfterHeadersOrAMessage() async throws {
    try await withScriptedEtcd(script: { call in
      call.attempt == 1 ? .messages([], status: 9, text: "late") : .messages([[]], status: 9, text: "later")
    }) { _, gateway in
      expectError(try await gateway.http.post("/v3/kv/put", key), 400, code: 9, message: "late")
      expectError(try await gateway.http.post("/v3/kv/put", key), 400, code: 9, message: "later")
    }
  }

  /// HTTP statuses of proxies in between, and their mapping (gRPC, "HTTP to gRPC Status Code Mapping").
  @Test(arguments: [400: 502, 401: 401, 403: 403, 404: 501, 418: 502, 429: 503, 500: 502, 502: 503, 503: 503, 504: 503])
  func httpErrorsWithoutAGrpcStatusAreMapped(http: Int, status: Int) async throws {
    // An answer whose body has no end is recognised by its head, too.
    let endless: ScriptedPeer.Answer = [.headers([.init(":status", "\(http)"), .init("content-type", "text/html")])]
    let script: ScriptedPeer.Script = { $0.attempt == 1 ? .http(status: http) : endless }
    try await withScriptedEtcd(gateway: ["--request-timeout", "10m"], script: script) { peer, gateway in
      for count in 1...2 {
        expectError(try await gateway.http.post("/v3/kv/put", key), status)
        #expect(peer.record.streams.count == count)
      }
      try await peer.wait(for: "the reset of the stream") { $0.streams.last?.reset != nil }
    }
  }
}
