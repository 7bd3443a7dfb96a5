import EtcdSchema
import Foundation
import TestSupport
import Testing

/// `POST /keys` with lines: an export goes into etcd again.
@Suite(.timeLimit(.minutes(15)))
struct KeyImportTests {
  static let type = [("Content-Type", "application/x-ndjson")]

  func line(_ key: String, _ value: String = "v", _ more: String = "") -> String {
    "{\"key\":\"\(key)\",\"value\":\"\(value)\"\(more)}\n"
  }

  /// Lines with a key and a value for each number, to which `padding` bytes are added.
  func lines(_ numbers: Range<Int>, prefix: String = "k", padding: Int = 0) -> String {
    let pad = String(repeating: " ", count: padding)
    return numbers.map { line("\(prefix)\(String(1_000_000 + $0).dropFirst())", "value of \($0)\(pad)") }.joined()
  }

  /// The lines of an answer.
  func answer(_ response: HTTPResponse, sourceLocation: SourceLocation = #_sourceLocation) throws -> [JSON] {
    #expect(response.status == 200, "\(response)", sourceLocation: sourceLocation)
    #expect(response[header: "Content-Type"] == "application/x-ndjson", sourceLocation: sourceLocation)
    return try response.body.split(separator: 0x0a).map { try JSON(parsing: Array($0)) }
  }

  /// Expects that an import was complete.
  func expectDone(
    _ response: HTTPResponse, keys: Int, errors: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let last = try answer(response, sourceLocation: sourceLocation).last
    let isAsExpected =
      last?["done"] == true && last?["keys"] == .number(Double(keys))
      && last?["errors"] == errors.map { .number(Double($0)) }
    #expect(isAsExpected, "\(response)", sourceLocation: sourceLocation)
  }

  /// Runs `body` with a gateway in front of an etcd, and a client that has a connection for each request: an answer
  /// that comes early is the last one of its connection.
  private func withHTTP(
    _ version: EtcdVersion, etcd etcdArguments: [String] = [], gateway arguments: [String] = [],
    body: (GatewayProcess, HTTPClient) async throws -> Void
  ) async throws {
    try await withEtcdAndGateway(version, etcd: etcdArguments, gateway: arguments) { _, gateway in
      try await body(gateway, gateway.http)
    }
  }

  /// Imports over HTTP/1.0, whose clients get no reports of progress: however long the import takes, an error has a
  /// status of its own.
  private func importUnreported(
    _ http: HTTPClient, _ query: String = "", user: String? = nil, body: [UInt8]
  ) async throws -> HTTPResponse {
    let connection = try await HTTPConnection.connect(to: http.url)
    try await connection.sendRequest(
      "POST", "/keys\(query)", headers: Self.type + basic(user), body: body, version: "1.0")
    return try await connection.receive()
  }

  /// Receives the answer to an import over HTTP/1.1. If that took longer than a second, the answer has begun with
  /// reports of progress, and an error is the last line of a body that is cut: only that line is returned.
  func receiveReported(_ connection: HTTPConnection) async throws -> HTTPResponse {
    let head = try await connection.receiveHead()
    var body: [UInt8] = []
    do {
      while let part = try await connection.receivePart() { body += part }
    } catch let failure as HTTPFailure where failure == .closed && head.status == 200 {
      body = Array(body.split(separator: 0x0a).last ?? [])
    }
    return HTTPResponse(head: head, body: body)
  }

  func count(_ http: HTTPClient, _ query: String = "") async throws -> Int? {
    let response = try await http.get("/keys?count_only=true\(query)")
    expectStatus(200, response)
    return try response.json["count"]?.number.map { Int($0) }
  }

  // MARK: - Round trips

  /// An export without what depends on when keys were put.
  private func export(_ http: HTTPClient) async throws -> [String] {
    let response = try await http.get("/keys", headers: [("Accept", "application/x-ndjson")])
    #expect(response.status == 200)
    return response.text.split(separator: "\n").map {
      String($0[..<($0.range(of: ",\"create_revision\"")!.lowerBound)])
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anExportIsImported(_ version: EtcdVersion) async throws {
    let keys = 20_000
    try await withHTTP(version) { first, one in
      var generator = SeededGenerator(seed: 12)
      func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }
      var body = ""
      for number in 0..<keys {
        let key = KeyText.random(using: &generator) + Array("\(number)".utf8)
        body +=
          "{\"key_base64\":\"\(base64(key))\",\"value_base64\":\"\(base64(KeyText.random(using: &generator)))\"}\n"
      }
      try expectDone(
        try await one.request("POST", "/keys", headers: Self.type, body: Array(body.utf8)), keys: keys)
      #expect(try await count(one) == keys)
      let exported = try await one.get("/keys", headers: [("Accept", "application/x-ndjson")])
      let original = try await export(one)
      try await withHTTP(version) { second, other in
        try expectDone(try await other.request("POST", "/keys", headers: Self.type, body: exported.body), keys: keys)
        #expect(try await export(other) == original)
      }
    }
  }

  enum Framing: CaseIterable, Sendable { case length, chunked, tinyChunks }

  /// In every framing of the body, and also if nothing comes after it.
  @Test(arguments: Framing.allCases, [false, true])
  func everyFramingIsTaken(_ framing: Framing, overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url], ["--shards", "1"]) { secure in
        for round in 0..<4 {
          let keys = 5000
          let body = Array(lines(0..<keys, prefix: "r\(round)/").utf8)
          let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
          var head = "POST /keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n"
          head += framing == .length ? "Content-Length: \(body.count)\r\n\r\n" : "Transfer-Encoding: chunked\r\n\r\n"
          try await connection.send(head)
          if framing == .length {
            try await connection.send(body)
          } else {
            let size = framing == .chunked ? 50_000 : 97
            var chunks: [UInt8] = []
            for start in stride(from: 0, to: body.count, by: size) {
              let chunk = body[start..<min(start + size, body.count)]
              chunks += Array("\(String(chunk.count, radix: 16))\r\n".utf8) + chunk + [13, 10]
            }
            try await connection.send(chunks + Array("0\r\n\r\n".utf8))
          }
          if round % 2 == 1 { await connection.finishSending() }
          try expectDone(try await connection.receive(), keys: keys)
        }
        #expect(try await count(HTTPClient(secure.plain)) == 20_000)
      }
    }
  }

  @Test func anOldClientIsServed() async throws {
    try await withHTTP(.v3_5) { gateway, http in
      let old = try await HTTPConnection.connect(to: gateway.url)
      let body = lines(0..<2000)
      try await old.send(
        "POST /keys HTTP/1.0\r\nContent-Type: application/x-ndjson\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body
      )
      try expectDone(try await old.receive(), keys: 2000)
      #expect(try await count(http) == 2000)
    }
  }

  // MARK: - Forms of lines

  @Test func emptyLinesArePassedOver() async throws {
    try await withHTTP(.v3_5) { _, http in
      for (body, keys) in [
        ("", 0), ("\n", 0), (" \t\r\n\n", 0), ("\n\(line("a"))\r\n" + "{\"key\":\"b\",\"value\":\"\"}\r", 2),
      ] {
        try expectDone(try await http.request("POST", "/keys", headers: Self.type, body: Array(body.utf8)), keys: keys)
      }
      #expect(try await count(http) == 2)
    }
  }

  /// The last line of a key wins, and each line counts.
  @Test(arguments: EtcdVersion.allCases)
  func linesTakeEffectInTheirOrder(_ version: EtcdVersion) async throws {
    try await withHTTP(version) { _, http in
      var generator = SeededGenerator(seed: 7)
      var last: [String: String] = [:]
      var puts: [String: Int] = [:]
      var body = ""
      // Runs of keys of their own, and a few keys that come again and again.
      for number in 0..<6000 {
        let key = generator.chance(1, in: 40) ? "again\(Int.random(in: 0..<9, using: &generator))" : "k\(number / 2)"
        last[key] = "\(number)"
        puts[key, default: 0] += 1
        body += line(key, "\(number)")
      }
      try expectDone(try await http.request("POST", "/keys", headers: Self.type, body: Array(body.utf8)), keys: 6000)
      let exported = try await http.get("/keys", headers: [("Accept", "application/x-ndjson")])
      let read = try exported.body.split(separator: 0x0a).map { try JSON(parsing: Array($0)) }
      #expect(read.count == last.count)
      for key in read {
        let name = try #require(key["key"]?.string)
        #expect(
          key["value"]?.string == last[name] && key["version"]?.number == puts[name].map { Double($0) }, "\(name)")
      }
    }
  }

  @Test func leasesThatAreThereAreUsed() async throws {
    try await withHTTP(.v3_5) { _, http in
      expectStatus(200, try await http.post("/leases", ["ttl": "600s", "id": "77"]))
      let body =
        line("a", "v", ",\"lease\":\"77\"") + line("b", "v", ",\"lease\":\"0\"") + line("c", "v", ",\"lease\":78")
      let response = try await http.request("POST", "/keys", headers: Self.type, body: Array(body.utf8))
      expectError(response, 404, code: 5, message: "line 3: etcdserver: requested lease not found")
      #expect(try response.json["keys"] == 2 && response.json["line"] == 3)
      #expect(try await http.get("/keys?key=a").json["lease"] == "77")
    }
  }

  // MARK: - Lines that are not put

  private static let badLines: [(line: String, status: Int, byte: Int, message: String)] = [
    ("nonsense", 400, 0, "expected an object"), ("[]", 400, 0, "expected an object"),
    ("{\"value\":\"v\"}", 400, 13, "'key' (or 'key_base64') is missing"),
    ("{\"key\":\"\",\"value\":\"v\"}", 400, 22, "key: the key is empty"),
    ("{\"key\":\"a\",\"mod_revision\":4}", 400, 28, "'value' (or 'value_base64') is missing"),
    ("{\"key\":\"a\",\"value\":\"v\",\"ttl\":\"60s\"}", 400, 29, "ttl: an import takes the 'lease' of an existing one"),
    (
      "{\"key\":\"a\",\"value\":\"v\",\"if_absent\":true}", 400, 35,
      "if_absent: an import puts each key unconditionally"
    ),
    ("{\"key\":\"a\",\"value\":\"v\",\"prev\":true}", 400, 30, "prev: an import has no answers for single keys"),
    (
      "{\"key\":\"a\",\"value\":\"v\",\"more\":1}", 400, 23,
      "more: unknown field: expected one of key, key_base64, value, value_base64, lease"
    ),
    ("{\"key\":\"a\",\"value\":\"v\"} {}", 400, 24, "unexpected bytes after the value"),
    ("{\"key\":\"a\",\"value\":\"v\",\"version\":-1}", 400, 33, "version: expected an integer from 0 on"),
  ]

  @Test(arguments: badLines.indices)
  func theFirstBadLineStopsIt(_ index: Int) async throws {
    let bad = Self.badLines[index]
    try await withHTTP(.v3_5) { _, http in
      let before = lines(0..<500)
      let body = Array((before + bad.line + "\n" + lines(500..<2000)).utf8)
      let response = try await importUnreported(http, body: body)
      expectError(response, bad.status, code: 3)
      #expect(response.message?.hasPrefix("line 501: \(bad.message)") == true, "\(response)")
      let answer = try response.json
      #expect(answer["line"] == 501 && answer["keys"] == 500, "\(response)")
      #expect(answer["byte"] == .number(Double(before.utf8.count + bad.byte)), "\(response)")
      #expect(answer["bytes"] == .number(Double(before.utf8.count)))
      #expect(try await count(http) == 500)
      let other = try await http.request("POST", "/keys?skip_errors=true", headers: Self.type, body: body)
      try expectDone(other, keys: 2000, errors: 1)
      let told = try #require(try lastLine(other)["first_errors"]?.array?.first)
      #expect(told["line"] == 501 && told["byte"] == answer["byte"] && told["message"]?.string == response.message)
      #expect(try await count(http) == 2000)
    }
  }

  func lastLine(_ response: HTTPResponse) throws -> JSON { try #require(try answer(response).last) }

  @Test(arguments: [false, true])
  func aHugeLineIsRefused(_ isChunked: Bool) async throws {
    try await withHTTP(.v3_5, gateway: ["--max-request-bytes", "100000"]) { gateway, http in
      let body = Array((lines(0..<10) + line("large", String(repeating: "x", count: 200_000)) + lines(10..<20)).utf8)
      func request(_ query: String) async throws -> HTTPResponse {
        guard isChunked else { return try await importUnreported(http, query, body: body) }
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest(
          "POST", "/keys\(query)", headers: Self.type + [("Transfer-Encoding", "chunked")])
        let size = String(body.count, radix: 16)
        try await connection.send(Array("\(size)\r\n".utf8) + body + Array("\r\n0\r\n\r\n".utf8))
        return try await receiveReported(connection)
      }
      let response = try await request("")
      if response.status != 200 { expectError(response, 413, code: 8) } else { #expect(isChunked) }
      #expect(response.message == "line 11: the line is larger than 100000 bytes (--max-request-bytes)")
      #expect(try response.json["keys"] == 10 && response.json["line"] == 11)
      #expect(try await count(http) == 10)
      try expectDone(try await request("?skip_errors=true"), keys: 20, errors: 1)
      #expect(try await count(http) == 20)
    }
  }

  /// A line that is too large for etcd but not for the gateway.
  @Test func etcdRefusesALineThatIsTooLarge() async throws {
    try await withHTTP(.v3_5) { _, http in
      let large = line("large", String(repeating: "x", count: 2_000_000))
      let body = Array((lines(0..<10) + large + lines(10..<20)).utf8)
      let response = try await importUnreported(http, body: body)
      #expect(response.status == 413 && response.message?.hasPrefix("line 11: ") == true, "\(response)")
      // Lines after it may have been at etcd already.
      #expect(try [10, 20].contains(response.json["keys"]))
      try expectDone(
        try await http.request("POST", "/keys?skip_errors=true", headers: Self.type, body: body), keys: 20, errors: 1)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aLineThatIsDeniedStopsIt(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      try await fixture.asRoot("/v3/auth/role/add", ["name": "writer"])
      let permission: JSON = ["permType": "READWRITE", "key": .string("k".base64), "range_end": .string("l".base64)]
      try await fixture.asRoot("/v3/auth/role/grant", ["name": "writer", "perm": permission])
      try await fixture.asRoot("/v3/auth/user/grant", ["user": "bob", "role": "writer"])
      func request(_ query: String, _ user: String?, _ body: String) async throws -> HTTPResponse {
        try await importUnreported(gateway.http, query, user: user, body: Array(body.utf8))
      }
      let body = lines(0..<700) + line("z") + lines(700..<2000) + line("y") + lines(2000..<2500)
      let denied = try await request("", "bob:bobpw", body)
      expectError(denied, 403, code: 7, message: "line 701: etcdserver: permission denied")
      let answer = try denied.json
      #expect(answer["line"] == 701 && answer["byte"] == .number(Double(lines(0..<700).utf8.count)))
      // All lines before it were put; of those after it only some that were at etcd already.
      let keys = try #require(answer["keys"]?.number)
      let there = try await gateway.http.get("/keys?prefix=k&keys_only=true&limit=10000", user: "ann:annpw").json[
        "keys"]
      let names = try #require(there?.array?.compactMap { $0["key"]?.string })
      #expect(Double(names.count) == keys && keys >= 700 && keys < 2500)
      #expect(Set(names).isSuperset(of: (0..<700).map { String(format: "k%06d", $0) }))
      let skipped = try await request("?skip_errors=true", "bob:bobpw", body)
      try expectDone(skipped, keys: 2500, errors: 2)
      #expect(try lastLine(skipped)["first_errors"]?.array?.map { $0["line"] } == [701, 2002])
      // A client without the permission gets no lines.
      for query in ["", "?skip_errors=true"] {
        expectChallenge(try await request(query, nil, body))
        expectChallenge(try await request(query, "bob:wrong", body))
        expectChallenge(try await request(query, nil, line("k")))
      }
    }
  }

  @Test func manyErrorsAreCounted() async throws {
    try await withHTTP(.v3_5) { _, http in
      let body = (0..<1000).map { $0 % 3 == 0 ? "{\"key\":\($0)}\n" : line("k\($0)") }.joined()
      let response = try await http.request(
        "POST", "/keys?skip_errors=true", headers: Self.type, body: Array(body.utf8))
      try expectDone(response, keys: 666, errors: 334)
      let told = try lastLine(response)["first_errors"]?.array?.map { $0["line"] }
      #expect(told == [1, 4, 7, 10, 13, 16, 19, 22, 25, 28])
    }
  }

  @Test func anEtcdThatTakesFewOperationsIsServed() async throws {
    try await withHTTP(.v3_5, etcd: ["--max-txn-ops", "10", "--max-request-bytes", "20000"]) { _, http in
      try expectDone(
        try await http.request("POST", "/keys", headers: Self.type, body: Array(lines(0..<3000).utf8)), keys: 3000)
      let large = (0..<100).map { line("large\($0)", String(repeating: "x", count: 9000)) }.joined()
      try expectDone(try await http.request("POST", "/keys", headers: Self.type, body: Array(large.utf8)), keys: 100)
      #expect(try await count(http) == 3100)
    }
  }

  // MARK: - Requests

  @Test func itIsARequestLikeOthers() async throws {
    try await withHTTP(.v3_5, gateway: ["--access-log", "all"]) { gateway, http in
      func request(_ path: String, _ headers: [(String, String)] = [], _ type: String = "application/x-ndjson")
        async throws -> HTTPResponse
      {
        try await gateway.http.request(
          "POST", path, headers: [("Content-Type", type)] + headers, body: Array(line("a").utf8))
      }
      expectError(try await request("/keys?skip_errors=yes"), 400, code: 3)
      expectError(try await request("/keys?prefix=a"), 400, code: 3)
      expectError(try await request("/keys?skip_errors=true", [], "application/json"), 400, code: 3)
      expectError(try await request("/keys", [("If-Match", "*")]), 400, code: 3)
      expectError(try await request("/keys", [("Origin", "http://elsewhere.example")]), 403, code: 7)
      expectError(try await request("/keys", [("Content-Encoding", "gzip")]), 415, code: 3)
      #expect(try await count(http) == 0)
      try expectDone(
        try await request("/keys", [("X-Request-Id", "import")], "Application/X-NDJSON;charset=UTF-8"), keys: 1)
      let logged = try await eventually("a line of the request") {
        gateway.log.split(separator: "\n").first { $0.contains("request_id=import") }
      }
      #expect(logged.contains("status=200") && logged.contains("bytes_in=24"), "\(logged)")
    }
  }

  // MARK: - Memory

  @Test func aLineForWhichThereIsNoMemoryIsRefused() async throws {
    try await withHTTP(.v3_5, gateway: ["--max-memory", "1M", "--shards", "1"]) { gateway, http in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.sendRequest(
        "POST", "/keys", headers: Self.type + [("Content-Length", "100000000")], version: "1.0")
      try await connection.send(Array(lines(0..<50).utf8) + [UInt8](repeating: 32, count: 1_500_000))
      let response = try await connection.receive()
      expectError(response, 503, code: 8)
      #expect(response[header: "Retry-After"] == "1")
      #expect(try response.json["line"] == 51 && response.json["keys"] == 50)
      try expectDone(
        try await http.request("POST", "/keys", headers: Self.type, body: Array(lines(0..<5000).utf8)), keys: 5000)
    }
  }
}
