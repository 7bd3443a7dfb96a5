import EtcdSchema
import Foundation
import TestSupport
import Testing

@testable import Gateway
@testable import GrpcBridge

/// Etcd's own API: one request, one call, one answer; and what becomes of etcd's errors.
@Suite(.timeLimit(.minutes(15)))
struct RouterCallTests {
  private static let range = #"{"key":"YQ=="}"#

  @Test func aCallIsTranscodedBothWays() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      let answer = try router.request("POST", "/v3/kv/range", body: #"{"key":"YQ==","limit":"3","serializable":true}"#)
      let kv: JSON = ["key": "YQ==", "create_revision": "4", "mod_revision": "5", "version": "2", "value": "dg=="]
      #expect(try answer.json == ["header": ["revision": "7"], "kvs": [kv], "count": "1"])
      #expect(answer.status == 200 && answer.body.last == 0x0a && answer[header: "Content-Type"] == "application/json")
      let request = try #require(try router.requests(of: EtcdRPC.range).first)
      #expect(request.key == Data("a".utf8) && request.limit == 3 && request.serializable)
    }
  }

  @Test func aBodyMayComeInPieces() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.put) { _ in .with { $0.header.revision = 8 } }
      let client = router.begin("POST", "/v3/kv/put", body: [#"{"key":"#, #""YQ==","#, #""value":"dg=="}"#])
      try router.turn { client.ending != nil }
      #expect(try client.response().json == ["header": ["revision": "8"]])
      #expect(try router.requests(of: EtcdRPC.put).first?.value == Data("v".utf8))
    }
  }

  @Test(arguments: ["{", #"{"key":7}"#, #"{"nothing":1}"#, "[]"])
  func aMalformedBodyDoesNotReachEtcd(_ body: String) throws {
    try withRouter { router, _ in
      let headers = [("Prefer", "handling=strict")]
      expectError(try router.request("POST", "/v3/kv/range", headers: headers, body: body), 400, code: 3, "body")
      #expect(router.calls(of: EtcdRPC.range).isEmpty)
    }
  }

  /// The status, message and headers for errors of etcd's (`StatusTable`).
  @Test(arguments: [
    (GRPCCode.invalidArgument, EtcdMessage.emptyKey, 400), (.outOfRange, EtcdMessage.compacted, 400),
    (.permissionDenied, EtcdMessage.permissionDenied, 403), (.notFound, EtcdMessage.leaseNotFound, 404),
    (.unknown, EtcdMessage.requestTooManyRequests, 429), (.invalidArgument, EtcdMessage.requestTooLarge, 413),
    (.resourceExhausted, EtcdMessage.noSpace, 429), (.unimplemented, "no such call", 501),
    (.internal, "a fault", 500), (.aborted, "another time", 409), (.alreadyExists, "once is enough", 409),
    (.failedPrecondition, "not in this state", 400), (.dataLoss, "gone", 500),
  ])
  func errorsAreThoseOfTheTable(_ code: GRPCCode, _ message: String, _ status: Int) throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.put) { _ in throw SimulatedEtcd.Refusal(code, message) }
      let answer = try router.request("POST", "/v3/kv/put", body: Self.range)
      expectError(answer, status, code: code.rawValue)
      #expect(answer.message == message)
      #expect((answer[header: "Retry-After"] != nil) == (message == EtcdMessage.requestTooManyRequests))
      #expect(router.calls(of: EtcdRPC.put).count == 1)
    }
  }

  /// A read may be sent again, a write must not.
  @Test func onlyWhatChangesNothingIsRepeated() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range, script: { $0.attempt == 1 ? [.close(abruptly: false)] : .found("v") })
      expectStatus(200, try router.request("POST", "/v3/kv/range", body: Self.range))
      #expect(router.calls(of: EtcdRPC.range).count == 2)
      etcd.on(EtcdRPC.put, script: { _ in [.close(abruptly: false)] })
      expectError(try router.request("POST", "/v3/kv/put", body: Self.range), 503, code: 14)
      #expect(router.calls(of: EtcdRPC.put).count == 1)
    }
  }

  @Test func aLargeAnswerIsStreamedWhole() throws {
    try withRouter { router, etcd in
      let value = String(repeating: "0123456789", count: 30_000)
      etcd.on(EtcdRPC.range) { request in .found(request.key, value) }
      let answer = try router.request("POST", "/v3/kv/range", body: Self.range)
      #expect(try answer.json["kvs"]?[0]?["value"]?.string == Data(value.utf8).base64EncodedString())
      #expect(answer.status == 200 && answer.body.last == 0x0a)
    }
  }

  @Test(arguments: [
    ("POST", "/v3/kv/range", range), ("GET", "/keys/a", ""), ("GET", "/keys?prefix=a", ""),
  ])
  func anAnswerThatBreaksOffIsCut(_ method: String, _ target: String, _ body: String) throws {
    try withRouter { router, etcd in
      let found = Etcdserverpb_RangeResponse.found(Data("a".utf8), String(repeating: "v", count: 200_000))
      let message: [UInt8] = try found.serializedBytes()
      etcd.on(EtcdRPC.range, script: { _ in .broken(message) })
      let client = router.begin(method, target, body: body.isEmpty ? [] : [body])
      try router.turn { client.ending != nil }
      #expect(client.ending == .cut)
    }
  }

  @Test(arguments: [("POST", "/v3/kv/deleterange", range), ("DELETE", "/keys/a", "")])
  func anAnswerThatMakesNoSenseIsAnError(_ method: String, _ target: String, _ body: String) throws {
    try withRouter { router, etcd in
      // A header that is longer than its message.
      etcd.on(EtcdRPC.deleteRange, script: { _ in .message([0x0a, 0x05]) })
      expectError(try router.request(method, target, body: body), 502, code: 13, "etcd sent an invalid answer")
    }
  }

  @Test func aShortAnswerThatBreaksOffIsAnError() throws {
    try withRouter { router, etcd in
      etcd.on(
        EtcdRPC.put,
        script: { _ in
          [.headers(.grpcResponse), .data(grpcFrame([0x0a, 0x02], claiming: 4)), .trailers(.grpcStatus(0))]
        })
      expectError(try router.request("POST", "/v3/kv/put", body: Self.range), 502, code: 13, "etcd")
    }
  }

  /// A client that leaves has its call cancelled at etcd.
  @Test(arguments: [("POST", "/v3/kv/put"), ("PUT", "/keys/a")])
  func aClientThatLeavesCancelsItsCall(_ method: String, _ target: String) throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.put, script: { _ in .hang })
      let client = router.begin(method, target, body: [Self.range])
      try router.turn { router.calls(of: EtcdRPC.put).count == 1 }
      client.leave()
      try router.turn { router.calls(of: EtcdRPC.put).first?.reset != nil && client.ending != nil }
      #expect(router.calls(of: EtcdRPC.put).first?.reset?.code == HTTP2Error.cancel && client.ending == .cut)
    }
  }

  @Test func aDeadlineEndsTheCall() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.put, script: { $0.attempt == 1 ? .failure(5, "connected") : .hang })
      expectStatus(404, try router.request("POST", "/v3/kv/put", body: Self.range))
      let answer = try router.request("POST", "/v3/kv/put", headers: [("Grpc-Timeout", "2000m")], body: Self.range)
      expectError(answer, 504, code: 4, "2000 ms")
      #expect(router.calls(of: EtcdRPC.put).last?.headers["grpc-timeout"] == "2000m")
      try router.turn { router.calls(of: EtcdRPC.put).last?.reset != nil }
    }
  }

  @Test(arguments: [("Request-Timeout", "2", "2000m"), ("Grpc-Timeout", "1H", "3000m")])
  func clientsMaySetDeadlinesUpToTheMaximum(_ name: String, _ value: String, _ deadline: String) throws {
    try withRouter {
      $0.timeLimits = .init(most: 3000)
    } _: { router, etcd in
      etcd.on(EtcdRPC.put, script: { $0.attempt == 1 ? .failure(5, "connected") : .hang })
      expectStatus(404, try router.request("POST", "/v3/kv/put", body: Self.range))
      expectStatus(504, try router.request("POST", "/v3/kv/put", headers: [(name, value)], body: Self.range))
      #expect(router.calls(of: EtcdRPC.put).last?.headers["grpc-timeout"] == deadline)
    }
  }

  @Test func aWatchIsAStreamOfLines() throws {
    try withRouter { router, etcd in
      let created = Etcdserverpb_WatchResponse.with {
        $0.header.revision = 7
        $0.watchID = 0
        $0.created = true
      }
      etcd.on(
        EtcdRPC.watch,
        script: { call in
          let id = (try? Etcdserverpb_WatchRequest(serializedBytes: call.message))?.createRequest.watchID ?? 0
          var created = created
          created.watchID = id
          var event = created
          event.created = false
          event.header.revision = 8
          event.events = [.with { $0.kv = .found(Data("a".utf8), "v") }]
          event.events[0].kv.modRevision = 8
          return Self.stream([created, event])
        })
      let client = router.begin("POST", "/v3/watch", body: [#"{"create_request":{"key":"YQ=="}}"#])
      try router.turn { client.raw.contains("\"events\"") }
      #expect(client.raw.hasPrefix("HTTP/1.1 200 OK\r\n") && client.raw.contains("\"created\":true"), "\(client.raw)")
      #expect(client.raw.contains(#""key":"YQ==""#) && client.ending == .takenOver)
      client.leave()
      try router.turn { router.calls(of: EtcdRPC.watch).first?.reset != nil }
    }
  }

  private static func stream(_ messages: [Etcdserverpb_WatchResponse]) -> ScriptedPeer.Answer {
    .init([.headers(.grpcResponse)] + messages.map { .data(grpcFrame((try? $0.serializedBytes()) ?? [])) })
  }
}

extension ScriptedPeer.Answer {
  /// The beginning of a message. The rest does not come.
  fileprivate static func broken(_ message: [UInt8]) -> Self {
    [
      .headers(.grpcResponse), .data(Array(grpcFrame(message)[..<150_000])), .barrier,
      .reset(code: HTTP2Error.internalError),
    ]
  }

  fileprivate static func found(_ value: String) -> Self {
    .message((try? Etcdserverpb_RangeResponse.found(Data("a".utf8), value).serializedBytes()) ?? [])
  }
}
