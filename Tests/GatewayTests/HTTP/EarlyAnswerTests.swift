import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Early answers reach clients that send all of a request before they read.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct EarlyAnswerTests {
  private static let limit = 64 << 10

  struct Request: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let head: String
    var body = 0
    let status: Int
  }

  private static let requests: [Request] =
    [100_000, 1_600_000, 3_000_000, 8_000_000].map { size in
      Request(
        testDescription: "a body of \(size) bytes", head: "POST /v3/kv/put HTTP/1.1\r\nContent-Length: \(size)\r\n",
        body: size, status: 413)
    } + [
      Request(
        testDescription: "a value that is too large", head: "PUT /keys/a HTTP/1.1\r\nContent-Length: 3000000\r\n",
        body: 3_000_000, status: 413),
      Request(
        testDescription: "two lengths before a body",
        head: "POST /v3/kv/put HTTP/1.1\r\nContent-Length: 3000000\r\nContent-Length: 3000001\r\n",
        body: 3_000_000, status: 400),
      Request(
        testDescription: "a large head before a body",
        head: "POST /v3/kv/put HTTP/1.1\r\nX: \(String(repeating: "x", count: 20_000))\r\nContent-Length: 3000000\r\n",
        body: 3_000_000, status: 431),
      Request(
        testDescription: "a head beyond all memory",
        head: "GET /livez HTTP/1.1\r\nX: \(String(repeating: "x", count: 2_000_000))\r\n", status: 431),
    ]

  /// - Throws: the error of sending: then a client of this kind has lost the answer.
  private func answer(to request: Request, over connection: HTTPConnection) async throws -> HTTPResponse {
    try await connection.send(request.head + "Host: localhost\r\n\r\n")
    try await connection.send([UInt8](repeating: 65, count: request.body))
    return try await connection.receive()
  }

  @Test(arguments: requests, [false, true])
  func theAnswerArrives(_ request: Request, overTLS: Bool) async throws {
    try await withSecureGateway(["http://127.0.0.1:1"], ["--max-request-bytes", "\(Self.limit)"]) { secure in
      for _ in 0..<10 {
        let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
        let response = try await answer(to: request, over: connection)
        #expect(response.status == request.status, "\(response)")
        try await connection.receiveClose()
      }
    }
  }

  @Test func aChunkedBodyIsAnsweredWhenItIsTooLarge() async throws {
    // etcd is asked about the client before the body is read.
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-request-bytes", "\(Self.limit)"]) { _, gateway in
      let chunk = "10000\r\n" + String(repeating: "x", count: 65_536) + "\r\n"
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
      for _ in 0..<60 { try await connection.send(chunk) }
      try await connection.send("0\r\n\r\n")
      expectError(try await connection.receive(), 413, code: 8, "chunked")
    }
  }

  /// The bytes that are thrown away are limited, so that no client sends for ever.
  @Test func whoSendsOnAndOnIsCut() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--max-request-bytes", "\(Self.limit)"]) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send("POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
      let piece = [UInt8](repeating: 65, count: 1 << 20)
      try await expectCut("the request") {
        for _ in 0..<4000 { try await connection.send(piece) }
      }
    }
  }

  enum Proxy: CaseIterable, Sendable { case nginx, haproxy }

  @Test(arguments: Proxy.allCases, [3_000_000, 6_000_000, 20_000_000])
  func theAnswerArrivesThroughAProxy(_ proxy: Proxy, _ size: Int) async throws {
    try await withGateway(["http://127.0.0.1:1"]) { gateway in
      let address = gateway.authority
      let kind: ReverseProxy.Kind =
        switch proxy {
        case .nginx:
          .nginx("client_max_body_size 0; location / { proxy_pass \(gateway.url); proxy_request_buffering off; }")
        case .haproxy: .haproxy("default_backend gateway\nbackend gateway\nserver one \(address)")
        }
      try await withReverseProxy(kind) { reverse in
        for _ in 0..<5 {
          let connection = try await HTTPConnection.connect(to: reverse.url)
          let request = Request(
            testDescription: "", head: "POST /v3/kv/put HTTP/1.1\r\nContent-Length: \(size)\r\n", body: size,
            status: 413)
          #expect(try await answer(to: request, over: connection).status == 413)
        }
      }
    }
  }

  /// A large answer that breaks midway is cut at once.
  @Test func aBrokenAnswerIsCut() async throws {
    let beginning = Array(grpcFrame(LargeAnswer.message)[..<(1 << 20)])
    let script: ScriptedPeer.Script = { _ in .init([.headers(.grpcResponse), .data(beginning)]) }
    try await withScriptedEtcd(gateway: ["--idle-timeout", "10m"], script: script) { _, gateway in
      for _ in 0..<2 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send(
          "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nRequest-Timeout: 5\r\nContent-Length: 2\r\n\r\n{}")
        #expect(try await connection.receiveHead().status == 200)
        try await expectCut { while try await connection.receivePart() != nil {} }
        await connection.close()
      }
    }
  }

  /// Nearly all of a list that fits into no buffers between etcd and the client.
  private static let longBeginning: [UInt8] = {
    let value = Data(repeating: 0x61, count: 1 << 20)
    let list = Etcdserverpb_RangeResponse.with {
      $0.header.revision = 42
      $0.kvs = (10..<30).map { number in
        .with {
          $0.key = Data("k\(number)".utf8)
          $0.value = value
        }
      }
    }
    return Array(grpcFrame(list.wireBytes).dropLast())
  }()

  /// So is one whose client does not read while it breaks: what has come is sent first, and nothing remains to be read
  /// right after something was written.
  @Test(arguments: [("POST", "/v3/kv/range", "{}"), ("GET", "/keys?prefix=k", nil)] as [(String, String, String?)])
  func aBrokenAnswerIsCutBehindASlowReader(_ method: String, _ path: String, _ body: String?) async throws {
    let beginning = Self.longBeginning
    let script: ScriptedPeer.Script = { _ in .init([.headers(.grpcResponse), .data(beginning)]) }
    try await withScriptedEtcd(gateway: ["--idle-timeout", "10m"], script: script) { peer, gateway in
      for round in 1...2 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        await connection.setReceiveBuffer(bytes: 65_536)
        try await connection.sendRequest(
          method, path, headers: [("Request-Timeout", "5")], body: body.map { Array($0.utf8) })
        #expect(try await connection.receiveHead().status == 200)
        // The time limit passes.
        let record = try await peer.wait(for: "the end of call \(round)") { record in
          let calls = record.streams(of: RPCPath.range)
          return calls.count >= round && calls[round - 1].reset != nil
        }
        #expect(record.streams(of: RPCPath.range)[round - 1].bytesSent < beginning.count, "all of it was in buffers")
        try await expectCut { while try await connection.receivePart() != nil {} }
        await connection.close()
      }
    }
  }

  /// So is a list of keys whose next page does not come within the client's time limit.
  @Test func aListThatBreaksIsCut() async throws {
    let script: ScriptedPeer.Script = { call in
      guard let request = try? Etcdserverpb_RangeRequest(serializedBytes: call.message) else { return .failure(13, "") }
      guard request.key == Data("k".utf8) else { return .hang }
      return .message(
        Etcdserverpb_RangeResponse.with {
          $0.header.revision = 42
          $0.kvs = ["k1", "k2"].map { key in .with { $0.key = Data(key.utf8) } }
          $0.more = true
          $0.count = 9
        })
    }
    try await withScriptedEtcd(gateway: ["--idle-timeout", "10m"], script: script) { peer, gateway in
      for round in 1...2 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest(
          "GET", "/keys?prefix=k", headers: [("Accept", "application/x-ndjson"), ("Request-Timeout", "5")])
        #expect(try await connection.receiveHead().status == 200)
        try await expectCut { while try await connection.receivePart() != nil {} }
        await connection.close()
        try await peer.wait(for: "both calls of round \(round)") { $0.streams(of: RPCPath.range).count == 2 * round }
      }
    }
  }
}
