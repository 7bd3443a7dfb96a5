import Foundation
import TestSupport
import Testing

/// `GET` and `HEAD` of one key.
@Suite(.timeLimit(.minutes(15)))
struct KeyReadTests {
  @Test(arguments: EtcdVersion.allCases)
  func anyBytesAreAKeyAndAValue(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, _, http in
      var generator = SeededGenerator(seed: 5)
      var values: [[UInt8]: [UInt8]] = [[0]: [0], [0xff]: [], Array("//".utf8): [0xff], Array("a/../b".utf8): [1]]
      for _ in 0..<150 {
        values[KeyText.random(using: &generator)] = KeyText.random(using: &generator)
      }
      for (key, value) in values {
        let path = "/keys/\(KeyText.encode(key, using: &generator))"
        expectStatus(200, try await http.request("PUT", path, body: value))
        // etcd itself has the key and the value to the byte.
        let found = try await etcd.call("/v3/kv/range", ["key": .string(Data(key).base64EncodedString())])["kvs"]?[0]
        #expect(found?["value"]?.string ?? "" == Data(value).base64EncodedString(), "\(path)")
        let bytes = try await http.get("/keys/\(KeyText.encode(key, using: &generator))")
        #expect(bytes.status == 200 && bytes.body == value, "\(path): \(bytes)")
        #expect(bytes[header: "Content-Type"] == "application/octet-stream")
        let json = try await http.get(path, headers: [("Accept", "application/json")]).json
        #expect(json.bytes("key") == key && json.bytes("value") == value, "\(path): \(json)")
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func headersTellOfTheKey(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      let created = try await http.put("a", "one")
      let lease = try #require(try await http.key("PUT", "a", "?ttl=60s", body: "two").json["lease"]?.string)
      let last = try await http.put("b")
      for method in ["GET", "HEAD"] {
        let response = try await http.key(method, "a")
        expectStatus(200, response)
        #expect(response[header: "ETag"] == "\"\(created + 1)\"")
        #expect(response[header: "X-Etcd-Revision"] == "\(last)")
        #expect(response[header: "X-Etcd-Create-Revision"] == "\(created)")
        #expect(response[header: "X-Etcd-Version"] == "2")
        #expect(response[header: "X-Etcd-Lease"] == lease)
        #expect(response[header: "Cache-Control"] == "no-cache")
        #expect(response[header: "Vary"] == "Accept")
        #expect(response[header: "Content-Length"] == "3")
        #expect(response.text == (method == "GET" ? "two" : ""))
      }
      let json = try await http.key("GET", "a", headers: [("Accept", "text/html, application/json;q=0.9, */*")]).json
      let expected: JSON = [
        "key": "a", "value": "two", "create_revision": .number(Double(created)),
        "mod_revision": .number(Double(created + 1)), "version": 2, "lease": .string(lease),
      ]
      #expect(json == expected)
      #expect(try await http.key("GET", "b")[header: "X-Etcd-Lease"] == nil)
      #expect(try await http.key("GET", "b", headers: [("Accept", "application/json")]).json["lease"] == "0")
    }
  }

  @Test(arguments: EtcdVersion.allCases, [false, true])
  func valuesOfAnySizeComeWhole(_ version: EtcdVersion, hasLease: Bool) async throws {
    try await withKeys(version) { _, _, http in
      var generator = SeededGenerator(seed: 7)
      for size in [0, 1, 65_535, 65_536, 65_537, 70_000, 300_000, 1_500_000] {
        let value = (0..<size / 8).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
        expectStatus(200, try await http.key("PUT", Array("k".utf8), hasLease ? "?ttl=60s" : "", body: value))
        let get = try await http.key("GET", "k")
        #expect(get.status == 200 && get.body == value, "\(size)")
        #expect(get[header: "Content-Length"] == "\(value.count)")
        #expect((get[header: "X-Etcd-Lease"] != nil) == hasLease)
        let head = try await http.key("HEAD", "k")
        #expect(head.status == 200 && head[header: "Content-Length"] == "\(value.count)" && head.body.isEmpty)
        let json = try await http.key("GET", "k", headers: [("Accept", "application/json")]).json
        #expect(json.bytes("value") == value)
      }
    }
  }

  @Test func conditions() async throws {
    try await withKeys(.v3_5) { _, _, http in
      let large = String(repeating: "v", count: 100_000)
      for (key, value) in [("small", "v"), ("large", large)] {
        let revision = try await http.put(key, value)
        let known = [
          "\"\(revision)\"", "W/\"\(revision)\"", "*", "\"1\", \"\(revision)\"", " \"x\" ,\t\"\(revision)\"",
        ]
        for condition in known {
          let response = try await http.key("GET", key, headers: [("If-None-Match", condition)])
          #expect(response.status == 304 && response.body.isEmpty, "\(condition): \(response.status)")
          #expect(response[header: "ETag"] == "\"\(revision)\"")
          // Those of a 200 (RFC 9110, section 15.4.5).
          #expect(response[header: "Cache-Control"] == "no-cache" && response[header: "Vary"] == "Accept")
          #expect(response[header: "Content-Length"] == "\(value.utf8.count)")
        }
        let other = ["\"\(revision - 1)\"", "\"0\(revision)\"", "\"\"", "\"99999999999999999999\"", "W/\"x\""]
        for condition in other {
          let response = try await http.key("GET", key, headers: [("If-None-Match", condition)])
          #expect(response.status == 200 && response.text == value, "\(condition): \(response.status)")
        }
        // A list may continue in the next line.
        let lines = [("If-None-Match", "\"1\""), ("If-None-Match", "\"\(revision)\"")]
        #expect(try await http.key("GET", key, headers: lines).status == 304)
        for condition in ["*", "\"\(revision)\"", "\"1\", \"\(revision)\""] {
          expectStatus(200, try await http.key("GET", key, headers: [("If-Match", condition)]))
        }
        for condition in ["W/\"\(revision)\"", "\"1\""] {
          let response = try await http.key("GET", key, headers: [("If-Match", condition)])
          expectError(response, 412, code: 9)
          #expect(response[header: "ETag"] == "\"\(revision)\"")
        }
        for condition in ["x", "\"", "\"a\" \"b\"", "", ",", "w/\"1\"", "*, \"1\""] {
          for name in ["If-Match", "If-None-Match"] {
            let response = try await http.key("GET", key, headers: [(name, condition)])
            // An empty header is a list without elements, which makes no sense either.
            expectError(response, 400, code: 3)
            #expect(response.message?.contains(name) == true)
          }
        }
      }
      expectError(try await http.key("GET", "none", headers: [("If-None-Match", "*")]), 404, code: 5)
      expectError(try await http.key("GET", "none", headers: [("If-Match", "*")]), 412, code: 9)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func revisions(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, _, http in
      let first = try await http.put("a", "one")
      let second = try await http.put("a", "two")
      let old = try await http.key("GET", "a", "?revision=\(first)")
      #expect(old.text == "one" && old[header: "ETag"] == "\"\(first)\"")
      #expect(old[header: "X-Etcd-Revision"] == "\(first)")
      #expect(try await http.key("GET", "a", "?serializable=true").text == "two")
      expectStatus(200, try await http.key("GET", "a", "?serializable=false&revision=\(second)"))
      expectError(try await http.key("GET", "a", "?revision=\(second + 10)"), 400, code: 11)
      _ = try await etcd.call("/v3/kv/compaction", ["revision": .number(Double(second))])
      expectError(try await http.key("GET", "a", "?revision=\(first)"), 410, code: 11)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whatIsNotThere(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      let revision = try await http.put("ab")
      for key in ["a", "abc", "ab/", "AB"] {
        for accept in ["*/*", "application/json"] {
          let response = try await http.key("GET", key, headers: [("Accept", accept)])
          expectError(response, 404, code: 5)
          #expect(response[header: "X-Etcd-Revision"] == "\(revision)")
          #expect(response[header: "ETag"] == nil)
        }
        let head = try await http.key("HEAD", key)
        #expect(head.status == 404 && head[header: "X-Etcd-Revision"] == "\(revision)")
      }
    }
  }

  private static let badInput: [(String, String)] = [
    ("/keys/", "/keys?prefix="), ("/keys/%", "%"), ("/keys/a%2", "%"), ("/keys/%G1", "%"), ("/keys/%1%41", "%"),
    ("/keys/a?nope=1", "'nope'"), ("/keys/a?prefix=b", "'prefix'"), ("/keys/a?Revision=1", "'Revision'"),
    ("/keys/a?revision=1&revision=1", "'revision'"), ("/keys/a?revision=0", "revision"),
    ("/keys/a?revision=-1", "revision"), ("/keys/a?revision=+1", "revision"), ("/keys/a?revision=1.0", "revision"),
    ("/keys/a?revision=9223372036854775808", "revision"), ("/keys/a?revision=", "revision"),
    ("/keys/a?revision", "revision"), ("/keys/a?revision=%", "revision"), ("/keys/a?serializable=2", "serializable"),
    ("/keys/a?serializable=TRUE", "serializable"), ("/keys/a?limit=1", "'limit'"), ("/keys/a?=1", "''"),
    ("/keys/a?ttl=60s", "'ttl'"), ("/keys/a?since=4", "'since'"), ("/keys/a?watch=true&revision=4", "'revision'"),
    ("/keys/a?watch=true&wait=1s", "'watch'"), ("/keys/a?watch=yes", "watch"),
  ]

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (path, name) in Self.badInput {
        let response = try await http.get(path)
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(response)")
      }
    }
  }

  @Test func otherMethodsAre405() async throws {
    try await withoutEtcd { http in
      for method in ["POST", "PATCH", "BREW"] {
        let response = try await http.request(method, "/keys/a", body: [])
        expectError(response, 405, code: 12)
        #expect(response[header: "Allow"] == "GET, HEAD, PUT, DELETE, OPTIONS")
      }
      let patch = try await http.request("PATCH", "/keys", body: [])
      expectError(patch, 405, code: 12)
      #expect(patch[header: "Allow"] == "GET, HEAD, POST, PUT, DELETE, OPTIONS")
      for path in ["/keys", "/keys?key=", "/keys?key"] {
        expectError(try await http.request("PUT", path, body: []), 400, code: 3)
      }
      expectError(try await http.get("/keysa"), 404, code: 5)
      expectError(try await http.get("/key/a"), 404, code: 5)
    }
  }
}

/// Runs `body` with a connection to a gateway without an etcd: the answers are known without etcd.
func withoutEtcd(body: (HTTPConnection) async throws -> Void) async throws {
  // No service has this port.
  try await withGateway(["http://127.0.0.1:1"]) { gateway in
    try await body(try await HTTPConnection.connect(to: gateway.url))
  }
}
