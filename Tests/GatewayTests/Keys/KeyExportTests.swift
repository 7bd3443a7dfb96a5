import EtcdSchema
import Foundation
import TestSupport
import Testing

/// `GET` of ranges as lines: all keys, at one revision.
@Suite(.timeLimit(.minutes(15)))
struct KeyExportTests {
  private static let lines = [("Accept", "application/x-ndjson")]

  private func lines(_ response: HTTPResponse) throws -> [JSON] {
    try response.body.split(separator: 0x0a).map { try JSON(parsing: Array($0)) }
  }

  @Test(arguments: EtcdVersion.allCases)
  func everyKeyIsALine(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      var generator = SeededGenerator(seed: 19)
      var keys: Set<[UInt8]> = []
      for _ in 0..<60 { keys.insert(KeyText.random(using: &generator)) }
      for key in keys { expectStatus(200, try await http.key("PUT", key, body: key.reversed())) }
      let sorted = keys.sorted { $0.lexicographicallyPrecedes($1) }
      let response = try await http.get("/keys", headers: Self.lines)
      #expect(response.status == 200 && response[header: "Content-Type"] == "application/x-ndjson")
      #expect(response[header: "Cache-Control"] == "no-store")
      let all = try lines(response)
      #expect(all.map { $0.bytes("key") } == sorted && all.map { $0.bytes("value") } == sorted.map { $0.reversed() })
      // As each is by itself.
      let one = try await http.key("GET", sorted[3], headers: [("Accept", "application/json")]).json
      #expect(all[3] == one)
      let revision = try #require(one["mod_revision"]?.number)
      let bounded = try await http.get("/keys?min_mod_revision=\(Int(revision))&keys_only=true", headers: Self.lines)
      let expected = all.filter { $0["mod_revision"]!.number! >= revision }
      #expect(try lines(bounded).map { $0.bytes("key") } == expected.map { $0.bytes("key") })
      #expect(try lines(bounded).allSatisfy { $0.bytes("value") == nil })
      let nothing = try await http.get("/keys?from=a&to=a", headers: Self.lines)
      #expect(nothing.status == 200 && nothing.body.isEmpty && nothing[header: "X-Etcd-Revision"] != nil)
      let head = try await http.request("HEAD", "/keys", headers: Self.lines)
      #expect(head.status == 200 && head[header: "X-Etcd-Revision"] == response[header: "X-Etcd-Revision"])
    }
  }

  /// Fills etcd through transactions of 128 puts each.
  private func fill(_ http: HTTPConnection, _ count: Int, value: String) async throws {
    for start in stride(from: 0, to: count, by: 128) {
      let puts = (start..<min(start + 128, count)).map { index -> JSON in
        ["request_put": ["key": .string(String(format: "k%06d", index).base64), "value": .string(value.base64)]]
      }
      expectStatus(200, try await http.post("/v3/kv/txn", ["success": .array(puts)]))
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func manyPagesAreOfOneRevision(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, gateway, http in
      let count = 20_000
      try await fill(http, count, value: "old")
      let reader = try await HTTPConnection.connect(to: gateway.url)
      await reader.setReceiveBuffer(bytes: 65_536)
      try await reader.sendRequest("GET", "/keys?prefix=k", headers: Self.lines)
      let head = try await reader.receiveHead()
      let revision = try #require(head["X-Etcd-Revision"])
      // Changes of keys that were not read yet.
      for index in [19_999, 19_998, 15_000] { try await http.put("k0\(index)", "new") }
      try await http.put("k0199995", "new")
      expectStatus(200, try await http.key("DELETE", "k019997"))
      var bytes: [UInt8] = []
      while let part = try await reader.receivePart() { bytes += part }
      let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
      #expect(lines.count == count && lines.allSatisfy { $0.contains("\"value\":\"old\"") })
      #expect(lines.last?.hasPrefix("{\"key\":\"k019999\"") == true)
      let again = try await http.get("/keys?prefix=k&revision=\(revision)", headers: Self.lines)
      #expect(again.body == bytes && again[header: "X-Etcd-Revision"] == revision)
    }
  }

  @Test func slowReadersCostLittleMemory() async throws {
    try await withKeys(.v3_5, gateway: ["--shards", "1"]) { _, gateway, http in
      try await fill(http, 2000, value: String(repeating: "v", count: 10_000))
      // Memory that the first export leaves behind does not count for the next ones.
      _ = try await http.get("/keys?prefix=k", headers: Self.lines)
      let before = gateway.process.residentBytes
      var readers: [HTTPConnection] = []
      for _ in 0..<4 {
        let reader = try await HTTPConnection.connect(to: gateway.url)
        await reader.setReceiveBuffer(bytes: 65_536)
        try await reader.sendRequest("GET", "/keys?prefix=k", headers: Self.lines)
        #expect(try await reader.receiveHead().status == 200)
        readers.append(reader)
      }
      for _ in 0..<50 { expectStatus(404, try await http.key("GET", "none")) }
      let used = gateway.process.residentBytes - before
      #expect(used < 24 << 20, "\(used) bytes for 4 clients that do not read 20 MB")
      var count = 0
      while let part = try await readers[0].receivePart() { count += part.count }
      #expect(count > 20_000_000)
    }
  }

  // MARK: - Failures midway

  private static func page(_ keys: [String], more: Bool) -> [UInt8] {
    Etcdserverpb_RangeResponse.with {
      $0.header.revision = 42
      $0.more = more
      $0.count = 3
      $0.kvs = keys.map { key in
        .with {
          $0.key = Data(key.utf8)
          $0.value = Data("v".utf8)
          $0.modRevision = 5
        }
      }
    }.wireBytes
  }

  private static func request(_ call: ScriptedPeer.Call) -> Etcdserverpb_RangeRequest {
    (try? Etcdserverpb_RangeRequest(serializedBytes: call.message)) ?? .init()
  }

  /// A page that breaks off within its second key.
  private static let broken: [UInt8] = {
    let frame = grpcFrame(page(["k1", "k2", "k3"], more: false))
    let first = frame.count - 3 * 10
    return Array(frame[..<(first + 14)])
  }()

  enum Break: CaseIterable, Sendable { case connection, unavailable, deadline }

  @Test(arguments: Break.allCases)
  func aPageThatBreaksIsAskedForAgainFromWhereItWas(_ way: Break) async throws {
    let script: ScriptedPeer.Script = { call in
      guard Self.request(call).key == Data("k".utf8) else { return .message(Self.page(["k2", "k3"], more: false)) }
      let begin: [ScriptedPeer.Step] = [.headers(.grpcResponse), .data(Self.broken), .barrier]
      switch way {
      case .connection: return .init(begin + [.close(abruptly: true)])
      case .unavailable: return .init(begin + [.trailers(.grpcStatus(14, "gone"))])
      case .deadline: return .init(begin)
      }
    }
    try await withScriptedEtcd(script: script) { peer, gateway in
      let response = try await gateway.http.get(
        "/keys?prefix=k", headers: Self.lines + (way == .deadline ? [("Grpc-Timeout", "10S")] : []))
      #expect(response.status == 200 && response[header: "X-Etcd-Revision"] == "42")
      #expect(try lines(response).map { $0["key"] } == ["k1", "k2", "k3"])
      let requests = peer.record.streams(of: RPCPath.range).compactMap(\.messages.first)
        .map { try? Etcdserverpb_RangeRequest(serializedBytes: $0) }
      #expect(requests.map { $0?.key } == [Data("k".utf8), Data("k1\0".utf8)])
      #expect(requests.map { $0?.revision } == [0, 42])
      #expect(requests.allSatisfy { $0?.rangeEnd == Data("l".utf8) })
    }
  }

  enum End: CaseIterable, Sendable { case compacted, denied, noProgress, garbage }

  @Test(arguments: End.allCases)
  func whatCannotGoOnIsCut(_ end: End) async throws {
    let script: ScriptedPeer.Script = { call in
      guard Self.request(call).key != Data("k".utf8) else { return .message(Self.page(["k1", "k2"], more: true)) }
      switch end {
      case .compacted: return .failure(11, "etcdserver: mvcc: required revision has been compacted")
      case .denied: return .failure(7, "etcdserver: permission denied")
      case .noProgress: return .failure(4, "etcdserver: request timed out")
      case .garbage: return .message([0x12, 0x7f, 0x0a])
      }
    }
    try await withScriptedEtcd(script: script) { _, gateway in
      let http = try await HTTPConnection.connect(to: gateway.url)
      try await http.sendRequest("GET", "/keys?prefix=k", headers: Self.lines)
      #expect(try await http.receiveHead().status == 200)
      var bytes: [UInt8] = []
      try await expectCut {
        while let part = try await http.receivePart() { bytes += part }
      }
      // What has come is valid as far as it goes.
      #expect(bytes.last == 0x0a && bytes.count(where: { $0 == 0x0a }) == 2)
      try await gateway.expectLogged("an export was cut")
    }
  }

  @Test(arguments: [[], [0x12, 0x7f], [0x0f], [0x0a, 0x02, 0x18]])
  func anAnswerThatIsNoneIsAnError(_ message: [UInt8]) async throws {
    try await withScriptedEtcd(script: { _ in .message(message) }) { _, gateway in
      for (path, headers) in [("/keys", Self.lines), ("/keys", []), ("/keys?count_only=true", [])] {
        expectError(try await gateway.http.get(path, headers: headers), 502, code: 13)
      }
      guard !message.isEmpty else { return }
      expectError(try await gateway.http.get("/keys/a"), 502, code: 13)
      expectError(try await gateway.http.request("PUT", "/keys/a", body: [1]), 502, code: 13)
      expectError(try await gateway.http.request("PUT", "/keys/a?ttl=60s", body: [1]), 502, code: 13)
      expectError(try await gateway.http.request("DELETE", "/keys/a"), 502, code: 13)
    }
  }

  @Test func aClientThatLeavesCancelsTheCall() async throws {
    // The first page comes, the next one never does.
    let script: ScriptedPeer.Script = { call in
      Self.request(call).key == Data("k".utf8) ? .message(Self.page(["k1"], more: true)) : .hang
    }
    try await withScriptedEtcd(script: script) { peer, gateway in
      let http = try await HTTPConnection.connect(to: gateway.url)
      try await http.sendRequest("GET", "/keys?prefix=k", headers: Self.lines)
      #expect(try await http.receiveHead().status == 200)
      _ = try await http.receivePart()
      try await peer.wait(for: "the second page") { $0.streams.count == 2 }
      await http.close()
      let record = try await peer.wait(for: "its end") { $0.streams[1].reset != nil }
      #expect(record.streams[1].reset?.code == HTTP2Error.cancel)
    }
    for (method, path) in [("GET", "/keys/a"), ("PUT", "/keys/a"), ("PUT", "/keys/a?ttl=60s"), ("DELETE", "/keys/a")] {
      try await withScriptedEtcd(script: { _ in .hang }) { peer, gateway in
        let http = try await HTTPConnection.connect(to: gateway.url)
        try await http.sendRequest(method, path, body: method == "PUT" ? [1] : nil)
        try await peer.wait(for: "the call") { $0.streams.count == 1 }
        await http.close()
        try await peer.wait(for: "its end") { $0.streams[0].reset?.code == HTTP2Error.cancel }
      }
    }
  }

  /// A large value breaks off: the client must not take the beginning for the whole.
  @Test func aValueThatBreaksIsCut() async throws {
    let message = Etcdserverpb_RangeResponse.with {
      $0.header.revision = 42
      $0.count = 1
      $0.kvs = [
        .with {
          $0.key = Data("a".utf8)
          $0.value = Data(repeating: 7, count: 200_000)
          $0.modRevision = 5
        }
      ]
    }.wireBytes
    let begin = Array(grpcFrame(message)[..<100_000])
    let answer: ScriptedPeer.Answer = [
      .headers(.grpcResponse), .data(begin), .barrier, .trailers(.grpcStatus(14, "gone")),
    ]
    try await withScriptedEtcd(script: { _ in answer }) { _, gateway in
      let http = try await HTTPConnection.connect(to: gateway.url)
      try await http.sendRequest("GET", "/keys/a")
      let head = try await http.receiveHead()
      #expect(head.status == 200 && head["Content-Length"] == "200000")
      try await expectCut { while try await http.receivePart() != nil {} }
    }
  }
}
