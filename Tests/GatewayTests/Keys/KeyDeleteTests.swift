import Foundation
import TestSupport
import Testing

/// `DELETE` of a key and of ranges.
@Suite(.timeLimit(.minutes(15)))
struct KeyDeleteTests {
  @Test(arguments: EtcdVersion.allCases)
  func oneKey(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      var generator = SeededGenerator(seed: 13)
      for _ in 0..<20 {
        let key = KeyText.random(using: &generator)
        let put = try await http.key("PUT", key, body: [1])
        // No key that begins in the same way is deleted with it.
        expectStatus(200, try await http.key("PUT", key + [0], body: [2]))
        let tag = try #require(put[header: "ETag"])
        for condition in ["\"1\"", "W/\(tag)"] {
          let lost = try await http.key("DELETE", key, headers: [("If-Match", condition)])
          expectError(lost, 412, code: 9)
          #expect(lost[header: "ETag"] == tag)
        }
        let isConditional = generator.chance(1, in: 2)
        let deleted = try await http.key("DELETE", key, headers: isConditional ? [("If-Match", tag)] : [])
        expectStatus(200, deleted)
        #expect(try deleted.json["deleted"] == 1)
        let revision = try #require(try deleted.json["revision"]?.number)
        #expect(deleted[header: "X-Etcd-Revision"] == "\(Int(revision))")
        let again = try await http.key("DELETE", key)
        expectError(again, 404, code: 5)
        #expect(again[header: "X-Etcd-Revision"] == "\(Int(revision))")
        expectError(try await http.key("DELETE", key, headers: [("If-Match", "*")]), 412, code: 9)
        expectStatus(200, try await http.key("DELETE", key + [0]))
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func ranges(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      for key in ["a", "app/1", "app/2", "app0", "b", "c"] { try await http.put(key) }
      func delete(_ query: String) async throws -> JSON? {
        try await http.request("DELETE", "/keys?\(query)").json["deleted"]
      }
      #expect(try await delete("prefix=app/") == 2)
      // An empty range is no error: there is nothing left to do.
      #expect(try await delete("prefix=app/") == 0)
      #expect(try await delete("from=app&to=b") == 1)
      #expect(try await delete("from=c&to=a") == 0)
      #expect(try await delete("from=b") == 2)
      #expect(try await http.get("/keys").json["count"] == 1)
      expectStatus(200, try await http.key("PUT", [0xff, 0xff], body: []))
      expectStatus(200, try await http.key("PUT", [0xff], body: []))
      #expect(try await delete("prefix=%ff%FF") == 1)
      #expect(try await delete("all=true") == 2)
      #expect(try await http.get("/keys").json["count"] == 0)
    }
  }

  private static let badInput: [(String, String)] = [
    ("/keys", "all=true"), ("/keys?prefix=", "all=true"), ("/keys?from=", "all=true"), ("/keys?from=%00", "all=true"),
    ("/keys?all=false", "all=true"), ("/keys?all=true&prefix=a", "'all'"), ("/keys?prefix=a&from=b", "'prefix'"),
    ("/keys?to=", "to"), ("/keys?limit=3", "'limit'"), ("/keys?prefix=%", "prefix"),
    ("/keys?prefix=a&prefix=b", "prefix"),
    ("/keys/a?all=true", "'all'"), ("/keys/a?prefix=b", "'prefix'"), ("/keys/", "/keys?prefix="),
  ]

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (path, name) in Self.badInput {
        let response = try await http.request("DELETE", path)
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(response)")
      }
    }
  }

  @Test func conditionsThatMakeNoSense() async throws {
    try await withoutEtcd { http in
      for (path, name) in [("/keys/a", "If-None-Match"), ("/keys?prefix=a", "If-Match")] {
        expectError(try await http.request("DELETE", path, headers: [(name, "*")]), 400, code: 3)
      }
    }
  }
}
