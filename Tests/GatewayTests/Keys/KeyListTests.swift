import Foundation
import TestSupport
import Testing

/// `GET` of ranges, page by page.
@Suite(.timeLimit(.minutes(15)))
struct KeyListTests {
  /// The keys of all pages, from one cursor to the next.
  private func pages(_ http: HTTPConnection, _ query: String) async throws -> (keys: [[UInt8]], pages: [JSON]) {
    var pages: [JSON] = []
    var cursor = ""
    repeat {
      let response = try await http.get("/keys?\(query)\(cursor)")
      expectStatus(200, response)
      pages.append(try response.json)
      #expect(response[header: "X-Etcd-Revision"] == pages[0]["revision"]?.number.map { "\(Int($0))" })
      cursor = pages.last?["cursor"]?.string.map { "&cursor=\($0)" } ?? ""
    } while !cursor.isEmpty
    return (pages.flatMap { $0["keys"]?.array ?? [] }.compactMap { $0.bytes("key") }, pages)
  }

  @Test(arguments: EtcdVersion.allCases)
  func allPagesTogetherAreTheRange(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      var generator = SeededGenerator(seed: 17)
      var keys: Set<[UInt8]> = [[0], [0xff], [0xff, 0xff]]
      for _ in 0..<120 { keys.insert(KeyText.random(using: &generator)) }
      for key in keys { expectStatus(200, try await http.key("PUT", key, body: key)) }
      let sorted = keys.sorted { $0.lexicographicallyPrecedes($1) }
      for limit in [1, 7, 40, 122, 123, 124, 10_000] {
        let all = try await pages(http, "limit=\(limit)")
        #expect(all.keys == sorted)
        #expect(all.pages.count == (sorted.count + limit - 1) / limit)
        #expect(all.pages.allSatisfy { $0["count"]?.number == Double(sorted.count) })
        #expect(try await pages(http, "order=desc&limit=\(limit)").keys == sorted.reversed())
      }
      for _ in 0..<40 {
        let (one, other) = (sorted.randomElement(using: &generator)!, sorted.randomElement(using: &generator)!)
        let prefix = Array(one.prefix(Int.random(in: 0...2, using: &generator)))
        let limit = Int.random(in: 1...30, using: &generator)
        let order = generator.chance(1, in: 2) ? "asc" : "desc"
        func expect(_ query: String, _ isIn: ([UInt8]) -> Bool) async throws {
          let expected = sorted.filter(isIn)
          let found = try await pages(http, "\(query)&limit=\(limit)&order=\(order)")
          #expect(found.keys == (order == "asc" ? expected : expected.reversed()), "\(query)")
          #expect(found.pages.allSatisfy { $0["count"]?.number == Double(expected.count) }, "\(query)")
        }
        let (from, to) = (KeyText.encode(one), KeyText.encode(other))
        try await expect("prefix=\(KeyText.encode(prefix))") { $0.starts(with: prefix) }
        try await expect("from=\(from)") { !$0.lexicographicallyPrecedes(one) }
        try await expect("to=\(to)") { $0.lexicographicallyPrecedes(other) }
        try await expect("from=\(from)&to=\(to)") {
          !$0.lexicographicallyPrecedes(one) && $0.lexicographicallyPrecedes(other)
        }
      }
    }
  }

  /// A cursor fits into the head of a request, whatever the keys are like, and nothing is skipped or comes twice.
  @Test func longKeysDoNotStopAListing() async throws {
    try await withKeys(.v3_5) { etcd, _, http in
      let long = [UInt8](repeating: UInt8(ascii: "m"), count: 2048)
      var keys: [[UInt8]] = [Array("a".utf8), Array("z".utf8), long.dropLast(), long, long + [0]]
      for size in [15_000, 20_000, 70_000] {
        for last in UInt8(ascii: "a")...UInt8(ascii: "c") {
          keys.append([UInt8](repeating: UInt8(ascii: "m"), count: size) + [last])
        }
      }
      keys.append([UInt8](repeating: 0xff, count: 3000) + [1])
      keys.append([UInt8](repeating: 0xff, count: 3000) + [2])
      keys.append(long + [0xff])
      for key in keys {
        let put: JSON = ["key": .string(Data(key).base64EncodedString()), "value": "dg=="]
        try await etcd.call("/v3/kv/put", put)
      }
      let sorted = keys.sorted { $0.lexicographicallyPrecedes($1) }
      for limit in [1, 2, 3, 5, 100] {
        for order in ["asc", "desc"] {
          for prefix in ["", "m", String(repeating: "m", count: 2100)] {
            let expected = sorted.filter { $0.starts(with: prefix.utf8) }
            let all = try await pages(http, "limit=\(limit)&order=\(order)&prefix=\(prefix)")
            #expect(
              all.keys == (order == "asc" ? expected : expected.reversed()), "\(limit), \(order), \(prefix.count)")
            #expect(all.pages.allSatisfy { ($0["cursor"]?.string?.count ?? 0) < 3000 })
          }
        }
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func allPagesAreOfOneRevision(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, _, http in
      for index in 0..<10 { try await http.put("k\(index)", "old") }
      let first = try await http.get("/keys?prefix=k&limit=4").json
      let revision = try #require(first["revision"]?.number)
      let cursor = try #require(first["cursor"]?.string)
      for index in 0..<10 { try await http.put("k\(index)", "new") }
      try await http.put("k55", "new")
      expectStatus(200, try await http.key("DELETE", "k7"))
      // With another size of page, and its parameters in another order.
      let second = try await http.get("/keys?cursor=\(cursor)&prefix=k&limit=100").json
      #expect(second["keys"]?.array?.count == 6 && second["count"] == 10 && second["cursor"] == nil)
      #expect(second["revision"]?.number == revision)
      #expect(second["keys"]?.array?.allSatisfy { $0["value"] == "old" } == true)
      let past = try await http.get("/keys?prefix=k&revision=\(Int(revision))&limit=4").json
      #expect(past["keys"] == first["keys"] && past["revision"] == first["revision"])
      _ = try await etcd.call("/v3/kv/compaction", ["revision": .number(revision + 5)])
      expectError(try await http.get("/keys?prefix=k&limit=4&cursor=\(cursor)"), 410, code: 11)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func partsOfKeysAndOrders(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      let first = try await http.put("a", "3")
      for (key, value) in [("b", "1"), ("c", "2"), ("c", "0")] { try await http.put(key, value) }
      func names(_ query: String) async throws -> String {
        let json = try await http.get("/keys?\(query)").json
        return json["keys"]?.array?.compactMap { $0["key"]?.string }.joined() ?? "\(json)"
      }
      #expect(try await http.get("/keys?count_only=true").json == ["revision": .number(Double(first + 3)), "count": 3])
      let bare = try await http.get("/keys?keys_only=true").json["keys"]?.array ?? []
      #expect(bare.count == 3 && bare.allSatisfy { $0["value"] == nil && $0["value_base64"] == nil })
      #expect(try await names("sort=value") == "cba")
      #expect(try await names("sort=value&order=desc") == "abc")
      #expect(try await names("sort=version&order=desc&limit=1") == "c")
      #expect(try await names("sort=create&order=desc") == "cba")
      #expect(try await names("sort=mod") == "abc")
      #expect(try await names("min_mod_revision=\(first + 1)") == "bc")
      #expect(try await names("max_mod_revision=\(first + 1)") == "ab")
      #expect(try await names("min_create_revision=\(first + 2)") == "c")
      #expect(try await names("max_create_revision=\(first + 1)") == "ab")
      let sorted = try await http.get("/keys?sort=mod&limit=2").json
      #expect(sorted["more"] == true && sorted["cursor"] == nil)
      #expect(try await http.get("/keys?sort=mod&limit=3").json["more"] == nil)
      // With bounds etcd also counts the keys that it leaves out; paging works all the same.
      let page = try await http.get("/keys?min_mod_revision=\(first + 1)&limit=1").json
      let cursor = try #require(page["cursor"]?.string)
      #expect(try await names("min_mod_revision=\(first + 1)&limit=1&cursor=\(cursor)") == "c")
      #expect(try await names("prefix=x") == "")
      let nothing = try await http.get("/keys?prefix=x").json
      #expect(nothing == ["revision": .number(Double(first + 3)), "keys": [], "count": 0])
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aLargePageComesAsItIs(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      let value = String(repeating: "v", count: 100_000)
      for index in 0..<30 { try await http.put("k\(index + 10)", value) }
      let response = try await http.get("/keys?prefix=k")
      #expect(response[header: "Content-Length"] == nil && response[header: "Transfer-Encoding"] == "chunked")
      let json = try response.json
      #expect(json["keys"]?.array?.count == 30 && json["count"] == 30)
      #expect(json["keys"]?.array?.allSatisfy { $0["value"]?.string == value } == true)
      let head = try await http.request("HEAD", "/keys?prefix=k")
      #expect(head.status == 200 && head[header: "X-Etcd-Revision"] == response[header: "X-Etcd-Revision"])
      // Its length is unknown, so that nothing separates it from what follows.
      #expect(head[header: "Connection"] == "close" && head[header: "Content-Length"] == nil)
      try await http.receiveClose()
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func cursorsBelongToTheirQuery(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      for key in ["a", "b", "c"] { try await http.put(key) }
      let query = "from=a&to=d&keys_only=true"
      let cursor = try #require(try await http.get("/keys?\(query)&limit=1").json["cursor"]?.string)
      expectStatus(200, try await http.get("/keys?\(query)&cursor=\(cursor)"))
      let others = [
        "", "from=a&keys_only=true&", "from=a&to=e&keys_only=true&", "from=a&to=d&", "\(query)&order=desc&",
        "\(query)&revision=2&",
      ]
      for other in others { expectError(try await http.get("/keys?\(other)cursor=\(cursor)"), 400, code: 3) }
      var broken = ["", "x", "AQ", String(cursor.dropLast(4)), "A" + cursor, cursor + "%21", "%ff"]
      var bytes = Array(cursor.utf8)
      for index in bytes.indices.dropLast(2) where index != 0 {
        bytes[index] = bytes[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        broken.append(String(decoding: bytes, as: UTF8.self))
        bytes = Array(cursor.utf8)
      }
      for cursor in broken {
        let status = try await http.get("/keys?\(query)&cursor=\(cursor)").status
        // Whether another revision or count happens to be valid is for etcd to say.
        #expect([200, 400, 410].contains(status), "\(cursor): \(status)")
      }
      for cursor in broken.prefix(7) {
        expectError(try await http.get("/keys?\(query)&cursor=\(cursor)"), 400, code: 3)
      }
    }
  }

  private static let badInput: [(String, String)] = [
    ("limit=0", "limit"), ("limit=10001", "limit"), ("limit=x", "limit"), ("prefix=a&from=b", "'prefix'"),
    ("prefix=a&to=b", "'prefix'"), ("to=", "to"), ("sort=name", "sort"), ("order=up", "order"), ("prefix=%0", "prefix"),
    ("keys_only=", "keys_only"), ("keysonly=true", "'keysonly'"), ("lease=1", "'lease'"), ("prefix", "prefix"),
    ("min_mod_revision=0", "min_mod_revision"), ("all=true", "'all'"), ("cursor=***", "cursor"),
    ("limit=1&limit=2", "'limit'"), ("watch=true&limit=5", "'limit'"), ("wait=1s&keys_only=true", "'keys_only'"),
    ("since=4", "'since'"),
  ]

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (query, name) in Self.badInput {
        let response = try await http.get("/keys?\(query)")
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(response)")
      }
    }
  }
}
