import Foundation
import TestSupport
import Testing

/// What is sent again and what never is, when streams and connections break.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamRepeatTests {
  private let key: JSON = ["key": .string("a".base64)]

  /// Answers that prove the call was not processed.
  private static let refusals: [ScriptedPeer.Answer] = [
    .refused,
    [.goAway(lastStream: 0, code: HTTP2Error.noError)],
    [.goAway(lastStream: 0, code: HTTP2Error.noError), .close(abruptly: false)],
    [.goAway(lastStream: 0, code: HTTP2Error.enhanceYourCalm), .close(abruptly: true)],
  ]

  @Test(arguments: refusals.indices)
  func aCallThatWasNeverProcessedIsRepeatedEvenIfItIsAPut(index: Int) async throws {
    try await withScriptedEtcd(script: { $0.attempt == 1 ? Self.refusals[index] : .put }) { peer, gateway in
      let response = try await gateway.http.post("/v3/kv/put", key, user: "ann:secret")
      #expect(response.status == 200, "\(response)")
      let puts = peer.record.streams(of: RPCPath.put)
      #expect(puts.count == 2)
      #expect(puts.first?.messages == puts.last?.messages)
      #expect(puts.allSatisfy { $0.headers["token"] == "ann.1" })
    }
  }

  @Test func refusalsWithoutEndEndTheCall() async throws {
    try await withScriptedEtcd(script: { _ in .refused }) { peer, gateway in
      let response = try await gateway.http.post("/v3/kv/put", key, headers: [("Grpc-Timeout", "1500m")])
      #expect([503, 504].contains(response.status), "\(response)")
      #expect((2...11).contains(peer.record.streams.count))
    }
  }

  /// Answers that leave open whether the call was executed.
  private static let doubts: [ScriptedPeer.Answer] = [
    .failure(14, "etcdserver: leader changed"),
    [.close(abruptly: false)],
    [.close(abruptly: true)],
    .http(status: 503),
  ]

  @Test(arguments: doubts.indices)
  func aCallThatMayHaveBeenExecutedIsRepeatedOnlyIfItMayBe(index: Int) async throws {
    try await withScriptedEtcd(script: { call in
      if call.attempt == 1 { return Self.doubts[index] }
      return call.path == RPCPath.put ? .put : .range
    }) { peer, gateway in
      expectError(try await gateway.http.post("/v3/kv/put", key), 503, code: 14)
      #expect(peer.record.streams(of: RPCPath.put).count == 1)
      let range = try await gateway.http.post("/v3/kv/range", key)
      #expect(range.status == 200, "\(range)")
      #expect(peer.record.streams(of: RPCPath.range).count == 2)
    }
  }

  /// The gateway's own calls change nothing at etcd.
  @Test(arguments: doubts.indices)
  func probesAndLoginsAreRepeated(index: Int) async throws {
    try await withScriptedEtcd(
      script: { $0.attempt == 1 ? Self.doubts[index] : .range },
      logIn: { call, _ in call.attempt == 1 ? Self.doubts[index] : nil }
    ) { peer, gateway in
      #expect(try await gateway.http.get("/readyz").status == 200)
      #expect(peer.record.streams(of: RPCPath.range).count == 2)
      expectStatus(200, try await gateway.http.post("/v3/kv/range", key, user: "ann:secret"))
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 2)
    }
  }

  @Test func otherErrorsAreNotRepeatedAtAll() async throws {
    try await withScriptedEtcd(script: { _ in [.reset(code: HTTP2Error.internalError)] }) { peer, gateway in
      for path in ["/v3/kv/put", "/v3/kv/range"] {
        expectError(try await gateway.http.post(path, key), 502, code: 13)
      }
      #expect(peer.record.streams.count == 2)
    }
  }

  @Test func aStreamThatAGoAwayCoversIsFinishedAndTheNextCallGoesElsewhere() async throws {
    try await withScriptedEtcd(script: { call in
      guard call.attempt == 1 else { return .put }
      let goAway = ScriptedPeer.Step.goAway(lastStream: call.stream, code: HTTP2Error.noError)
      return .init([goAway, .barrier] + ScriptedPeer.Answer.put.steps)
    }) { peer, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
      let puts = peer.record.streams(of: RPCPath.put)
      #expect(puts.count == 2)
      #expect(puts[0].connection != puts[1].connection)
      try await peer.wait(for: "the end of the connection that went away") {
        $0.connections[puts[0].connection].closed != nil
      }
    }
  }

  @Test func anAnnouncedGoAwayLosesNoCall() async throws {
    let gate = ScriptedPeer.Gate()
    try await withScriptedEtcd(script: { $0.attempt <= 20 ? ScriptedPeer.Answer.put.after(gate) : .put }) {
      peer, gateway in
      try await withThrowingTaskGroup { group in
        for _ in 0..<20 {
          group.addTask { expectStatus(200, try await gateway.http.post("/v3/kv/put", key)) }
        }
        try await peer.wait(for: "twenty calls") { $0.streams(of: RPCPath.put).count == 20 }
        peer.goAway()
        expectStatus(200, try await gateway.http.post("/v3/kv/put", key))
        gate.open()
        try await group.waitForAll()
      }
      #expect(peer.record.streams(of: RPCPath.put).count == 21)
    }
  }

  @Test func theConnectionComesBack() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { peer, gateway in
      for round in 1...3 {
        // A range: a put whose connection ends is rightly not repeated.
        expectStatus(200, try await gateway.http.post("/v3/kv/range", key, user: "ann:secret"))
        #expect(peer.record.streams(of: RPCPath.range).count == round)
        peer.close(abruptly: round == 2)
        try await peer.wait(for: "the end of the connections of round \(round)") { record in
          record.streams.allSatisfy { record.connections[$0.connection].closed != nil }
        }
      }
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 1)
    }
  }

  @Test func reconnectingBacksOff() async throws {
    var settings = ScriptedPeer.Settings()
    settings.welcome = { _ in .close }
    try await withScriptedEtcd(settings, script: { _ in .put }) { peer, _ in
      let connections = try await peer.wait(for: "twenty attempts") { $0.connections.count >= 20 }
        .connections
      // One or two connections try, one of them at least ten times. Growing pauses add up to 3 s, with the least
      // jitter; constant ones to half a second.
      #expect(connections[19].opened - connections[0].opened > .seconds(2))
    }
  }

  @Test func callsWaitForAConnection() async throws {
    var settings = ScriptedPeer.Settings()
    // The connections of the shards and of the logins.
    settings.welcome = { $0 < 6 ? .close : .serve }
    try await withScriptedEtcd(settings, gateway: ["--dial-timeout", "20s"], script: { _ in .put }) { _, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", key, user: "ann:secret"))
    }
  }

  /// A call that waited would end with 504.
  @Test func whereNobodyListensCallsEndAtOnce() async throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let flags = ["--dial-timeout", "1h", "--request-timeout", "20s", "--shards", "1"]
    try await withScriptedEtcd(settings, gateway: flags, script: { _ in .put }) { peer, gateway in
      for user in ["ann:secret", nil] {
        let response = try await gateway.http.post("/v3/kv/put", key, user: user)
        expectError(
          response, 503, code: 14, message: "no connection to etcd: \(peer.endpoint.dropFirst(7)): connection refused")
        #expect(response[header: "Retry-After"] == "1")
      }
      // Each call dials anew, whatever the backoff: the first one after the peer's return is served.
      peer.listen(true)
      _ = try await eventually("the port") { try? await HTTPConnection.connect(to: peer.endpoint) }
      for user in ["ann:secret", nil] {
        expectStatus(200, try await gateway.http.post("/v3/kv/put", key, user: user))
      }
    }
  }

  @Test func callsWaitForAConnectionNoLongerThanTheDialTimeout() async throws {
    var settings = ScriptedPeer.Settings()
    settings.welcome = { _ in .silence }
    try await withScriptedEtcd(settings, gateway: ["--dial-timeout", "1s"], script: { _ in .put }) { peer, gateway in
      for user in ["ann:secret", nil] {
        let begin = ContinuousClock.now
        let response = try await gateway.http.post("/v3/kv/put", key, user: user)
        let time = ContinuousClock.now - begin
        expectError(response, 503, code: 14)
        #expect(time > .milliseconds(500), "\(time)")
      }
      #expect(peer.record.streams.isEmpty)
    }
  }
}
