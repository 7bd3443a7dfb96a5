import EtcdSchema
import TestSupport
import Testing

/// Answers that etcd would not give: each becomes a JSON error, and the next call is served as if nothing had happened.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamGarbageTests {
  struct Garbage: Sendable, CustomTestStringConvertible {
    let name: String
    let answer: ScriptedPeer.Answer
    var testDescription: String { name }

    init(_ name: String, _ answer: ScriptedPeer.Answer) {
      self.name = name
      self.answer = answer
    }
  }

  private static let good = Etcdserverpb_PutResponse.with { $0.header.revision = 7 }.wireBytes
  private static let ok = ScriptedPeer.Step.trailers(.grpcStatus(0))

  private static func body(_ bytes: [UInt8], _ end: ScriptedPeer.Step = ok) -> ScriptedPeer.Answer {
    [.headers(.grpcResponse), .data(bytes), end]
  }

  static let garbage: [Garbage] = [
    Garbage("more claimed than sent", body(grpcFrame(good, claiming: 100))),
    Garbage("2 GiB claimed", body(grpcFrame(good, claiming: Int(Int32.max)), .reset(code: HTTP2Error.cancel))),
    Garbage("4 GiB claimed", body(grpcFrame(good, claiming: Int(UInt32.max)))),
    Garbage("less claimed than sent", body(grpcFrame(good, claiming: 1))),
    Garbage("compressed", body(grpcFrame(good, compressed: true))),
    Garbage("an unknown flag", body([0x80] + grpcFrame(good).dropFirst())),
    Garbage("two messages", body(grpcFrame(good) + grpcFrame(good))),
    Garbage("a message and a half", body(grpcFrame(good) + [0, 0])),
    Garbage("half a prefix", body([0, 0])),
    Garbage("no message", [.headers(.grpcResponse), ok]),
    Garbage("OK and nothing else", .failure(0, "")),
    Garbage("no status", body(grpcFrame(good), .endStream)),
    Garbage("no status in the trailers", body(grpcFrame(good), .trailers([.init("x", "y")]))),
    Garbage("a status that is no number", body(grpcFrame(good), .trailers([.init("grpc-status", "fine")]))),
    Garbage("a negative status", body(grpcFrame(good), .trailers([.init("grpc-status", "-1")]))),
    Garbage("not protobuf", body(grpcFrame([0xff, 0xff, 0xff]))),
    Garbage("protobuf cut short", body(grpcFrame(good.dropLast()))),
    Garbage("HTML", .http(status: 200)),
    Garbage(
      "not a gRPC type",
      [
        .headers([.init(":status", "200"), .init("content-type", "text/plain")]), .data(grpcFrame(good)), ok,
      ]),
    Garbage("a broken stream", [.reset(code: HTTP2Error.internalError)]),
    Garbage("an answer broken off", body(grpcFrame(good, claiming: 100), .reset(code: HTTP2Error.internalError))),
    Garbage("a cancelled stream", [.reset(code: HTTP2Error.cancel)]),
    Garbage("an unknown error", [.reset(code: 0xbad)]),
    Garbage("the end of the connection", [.close(abruptly: false)]),
    Garbage("the reset of the connection", [.close(abruptly: true)]),
    Garbage("an answer cut with its connection", body(grpcFrame(good, claiming: 100), .close(abruptly: false))),
    Garbage(
      "a thousand empty frames",
      ScriptedPeer.Answer(
        [.headers(.grpcResponse)] + Array(repeating: .data([]), count: 1000) + [ok])),
  ]

  @Test(arguments: garbage)
  func isAnError(_ garbage: Garbage) async throws {
    try await withScriptedEtcd(script: { call in call.attempt == 1 ? garbage.answer : .put }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      if garbage.name == "2 GiB claimed" {
        // Too large to be kept until it is whole: the answer has begun and is cut.
        try await expectCut { try await connection.post("/v3/kv/put", ["key": "YQ=="]) }
      } else {
        let response = try await connection.post("/v3/kv/put", ["key": "YQ=="])
        #expect((499...599).contains(response.status), "\(response)")
        expectError(response, response.status)
      }
      #expect(peer.record.streams(of: RPCPath.put).count == 1)
      expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "YQ=="]))
    }
  }

  @Test func aMessageInPiecesIsWhole() async throws {
    let frame = grpcFrame(Self.good)
    try await withScriptedEtcd(script: { call in
      call.attempt == 1
        ? .dripped(frame.map { [$0] })
        : [.headers(.grpcResponse), .data([]), .data(frame), .data([]), Self.ok]
    }) { _, gateway in
      for _ in 0..<2 {
        let response = try await gateway.http.post("/v3/kv/put", ["key": "YQ=="])
        #expect(response.status == 200)
        #expect(try response.json == ["header": ["revision": "7"]])
      }
    }
  }

  /// A member that accepts each connection and closes it is not reported each time.
  @Test func aMemberThatComesAndGoesDoesNotFillTheLog() async throws {
    let script: ScriptedPeer.Script = { _ in [.close(abruptly: false)] }
    try await withScriptedEtcd(script: script) { peer, gateway in
      _ = try await eventually("many connections") { () -> Bool? in
        expectStatus(503, try await gateway.http.post("/v3/kv/put", ["key": "YQ=="]))
        return peer.record.connections.count >= 5 ? true : nil
      }
      #expect(gateway.log.components(separatedBy: "no connection to etcd").count <= 3, "\(gateway.log)")
    }
  }

  @Test(arguments: [
    Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8), [UInt8](repeating: 0, count: 9), [0x15, 3, 3, 0, 2, 2, 40],
  ])
  func aServerThatDoesNotSpeakHTTP2IsNoConnection(greeting: [UInt8]) async throws {
    var settings = ScriptedPeer.Settings()
    settings.welcome = { _ in .bytes(greeting) }
    try await withScriptedEtcd(settings, gateway: ["--dial-timeout", "300ms"], script: { _ in .put }) { peer, gateway in
      expectError(try await gateway.http.post("/v3/kv/put", ["key": "YQ=="]), 503, code: 14)
      #expect(peer.record.streams.isEmpty)
    }
  }
}
