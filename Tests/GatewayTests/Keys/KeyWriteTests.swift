import Foundation
import TestSupport
import Testing

/// `PUT` of a key.
@Suite(.timeLimit(.minutes(15)))
struct KeyWriteTests {
  @Test(arguments: EtcdVersion.allCases)
  func answersWithTheRevision(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, gateway, http in
      let first = try await http.put("a", "one")
      let response = try await http.key("PUT", "a", body: "two")
      #expect(try response.json == ["revision": .number(Double(first + 1))])
      #expect(response[header: "ETag"] == "\"\(first + 1)\"" && response[header: "X-Etcd-Revision"] == "\(first + 1)")
      #expect(try await http.key("GET", "a")[header: "ETag"] == response[header: "ETag"])
      // As curl -T sends what it reads from a pipe.
      let chunks =
        "PUT /keys/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthr\r\n2\r\nee\r\n0\r\n\r\n"
      let piped = try await HTTPConnection.connect(to: gateway.url)
      try await piped.send(chunks)
      expectStatus(200, try await piped.receive())
      #expect(try await http.key("GET", "a").text == "three")
      expectStatus(200, try await http.key("PUT", "a"))
      #expect(try await http.key("GET", "a").text == "")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func conditionsHoldOrLose(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      var generator = SeededGenerator(seed: 11)
      for _ in 0..<20 {
        let key = KeyText.random(using: &generator)
        let value = KeyText.random(using: &generator)
        func put(_ name: String, _ condition: String) async throws -> HTTPResponse {
          try await http.key("PUT", key, headers: [(name, condition)], body: value)
        }
        for condition in ["*", "\"1\"", "\"0\"", "W/\"1\"", "\"x\""] {
          let absent = try await put("If-Match", condition)
          expectError(absent, 412, code: 9)
          #expect(absent[header: "ETag"] == nil && absent[header: "X-Etcd-Revision"] != nil)
        }
        let created = try await put("If-None-Match", "*")
        expectStatus(200, created)
        let tag = try #require(created[header: "ETag"])
        let exists = try await put("If-None-Match", "*")
        expectError(exists, 412, code: 9)
        #expect(exists[header: "ETag"] == tag)
        let changed = try await put("If-Match", tag)
        expectStatus(200, changed)
        let newTag = try #require(changed[header: "ETag"])
        for condition in [tag, "W/\(newTag)", "\"x\"", "\"0\""] {
          let lost = try await put("If-Match", condition)
          expectError(lost, 412, code: 9)
          #expect(lost[header: "ETag"] == newTag, "\(condition)")
        }
        expectStatus(200, try await put("If-Match", "*"))
        let json = try await http.key("GET", key, headers: [("Accept", "application/json")]).json
        #expect(json["version"] == 3 && json.bytes("value") == value)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aLeaseEndsTheKey(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, _, http in
      let granted = try await http.key("PUT", "a", "?ttl=59500ms", body: "v")
      expectStatus(200, granted)
      let lease = try #require(try granted.json["lease"]?.string)
      #expect(Int64(lease) != nil)
      // Never shorter than requested.
      #expect(try granted.json["ttl"]?.number ?? 0 >= 60)
      expectStatus(200, try await http.key("PUT", "b", "?lease=\(lease)", headers: [("If-None-Match", "*")], body: "v"))
      #expect(try await http.key("GET", "b")[header: "X-Etcd-Lease"] == lease)
      _ = try await etcd.call("/v3/lease/revoke", ["ID": .string(lease)])
      for key in ["a", "b"] { expectError(try await http.key("GET", key), 404) }
      expectError(try await http.key("PUT", "b", "?lease=\(lease)", body: "v"), 404, code: 5)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aPutThatLosesLeavesNoLease(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, _, http in
      try await http.put("a")
      for _ in 0..<3 {
        let lost = try await http.key("PUT", "a", "?ttl=60s", headers: [("If-None-Match", "*")], body: "v")
        expectError(lost, 412, code: 9)
        let tooLarge = [UInt8](repeating: 1, count: 1_572_864)
        expectError(try await http.key("PUT", Array("a".utf8), "?ttl=60s", body: tooLarge), 413, code: 3)
      }
      #expect(try await etcd.call("/v3/lease/leases")["leases"] == nil)
      #expect(try await http.key("GET", "a").text == "")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func theKeyAsItWasBefore(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      for condition in [[], [("If-Match", "*")]] {
        let absent = try await http.key("PUT", "a", "?prev=true", body: "one")
        #expect(try absent.json["prev"] == .null)
        let revision = try absent.json["revision"]
        let response = try await http.key("PUT", [0x61], "?prev=true", headers: condition, body: [0xff])
        let prev: JSON = [
          "key": "a", "value": "one", "create_revision": revision!, "mod_revision": revision!, "version": 1,
          "lease": "0",
        ]
        #expect(try response.json["prev"] == prev)
        let last = try await http.key("PUT", "a", "?prev=true", headers: condition, body: "two")
        #expect(try last.json["prev"]?.bytes("value") == [0xff])
        expectStatus(200, try await http.key("DELETE", "a"))
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whatIsTooLargeIs413(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, gateway, http in
      // Refused before the body is read.
      let asking = try await HTTPConnection.connect(to: gateway.url)
      try await asking.send(
        "PUT /keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1572865\r\nExpect: 100-continue\r\n\r\n")
      #expect(try await asking.receiveHead().status == 413)
      // etcd's limit is that of the whole request.
      expectError(try await http.key("PUT", Array("a".utf8), body: [UInt8](repeating: 1, count: 1_572_864)), 413)
      expectStatus(200, try await http.key("PUT", Array("a".utf8), body: [UInt8](repeating: 1, count: 1_572_000)))
    }
    try await withKeys(version, gateway: ["--max-value-bytes", "8000000"]) { _, _, http in
      for size in [1_600_000, 3_000_000, 8_000_000] {
        let value = [UInt8](repeating: 1, count: size)
        for condition in [[], [("If-None-Match", "*")]] {
          expectError(try await http.key("PUT", Array("a".utf8), headers: condition, body: value), 413)
        }
      }
      expectError(try await http.key("GET", "a"), 404)
    }
  }

  private static let badInput: [(String, [(String, String)], String)] = [
    ("/keys/", [], "/keys?prefix="), ("/keys/%zz", [], "%"), ("/keys/a?ttl=0s", [], "ttl"),
    ("/keys/a?ttl=999ms", [], "ttl"), ("/keys/a?ttl=x", [], "ttl"), ("/keys/a?ttl=-1s", [], "ttl"),
    ("/keys/a?ttl=9000000001s", [], "ttl"), ("/keys/a?ttl=60s&lease=4", [], "'lease'"),
    ("/keys/a?ttl=0x5", [], "a time such as 30s, 5m or 1h, from 1s"), ("/keys/a?ttl=%2B5", [], "ttl"),
    ("/keys/a?lease=+1", [], "lease"), ("/keys/a?lease=7abc", [], "lease"), ("/keys/a?lease=1&lease=1", [], "'lease'"),
    ("/keys/a?prev=2", [], "prev"), ("/keys/a?revision=3", [], "'revision'"),
    ("/keys/a", [("If-Match", "\"1\", \"2\"")], "If-Match"), ("/keys/a", [("If-None-Match", "\"1\"")], "If-None-Match"),
    ("/keys/a", [("If-Match", "5")], "If-Match"), ("/keys/a", [("If-Match", "*"), ("If-None-Match", "*")], "If-Match"),
    ("/keys/a", [("Content-Range", "bytes 0-1/10")], "Content-Range"),
  ]

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (path, headers, name) in Self.badInput {
        let response = try await http.request("PUT", path, headers: headers, body: [1])
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(response)")
      }
    }
  }

  /// It can be read in two ways, and so its connection ends.
  @Test(arguments: ["Request-Timeout", "Grpc-Timeout", "Last-Event-ID"])
  func aSecondFieldIsRefused(_ name: String) async throws {
    try await withoutEtcd { http in
      let response = try await http.request("PUT", "/keys/a", headers: [(name, "5S"), (name, "6S")], body: [1])
      expectError(response, 400, code: 3)
      #expect(response.message?.contains(name) == true, "\(response)")
    }
  }

  /// A counter that 16 clients raise, each time by what they have read: none is lost, none counts twice.
  @Test(arguments: EtcdVersion.allCases)
  func comparingAndSwappingCountsExactly(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, gateway, http in
      try await http.put("counter", "0")
      let (clients, turns) = (16, 12)
      let losses = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<clients {
          group.addTask {
            let http = try await HTTPConnection.connect(to: gateway.url)
            var losses = 0
            for _ in 0..<turns {
              while true {
                let read = try await http.key("GET", "counter")
                let tag = try #require(read[header: "ETag"])
                let value = "\(try #require(Int(read.text)) + 1)"
                let write = try await http.key("PUT", "counter", headers: [("If-Match", tag)], body: value)
                if write.status == 200 { break }
                expectError(write, 412, code: 9)
                losses += 1
              }
            }
            return losses
          }
        }
        return try await group.reduce(0, +)
      }
      #expect(try await http.key("GET", "counter").text == "\(clients * turns)")
      #expect(try await http.key("GET", "counter")[header: "X-Etcd-Version"] == "\(clients * turns + 1)")
      #expect(losses > 0, "nobody was ever too late: there was no contest")
    }
  }
}
