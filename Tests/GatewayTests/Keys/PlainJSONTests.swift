import Foundation
import TestSupport
import Testing

/// `/keys` by query and body, `/txn`, `/leases` and `/changes`: JSON in, JSON out.
@Suite(.timeLimit(.minutes(15)))
struct PlainJSONTests {
  @Test(arguments: EtcdVersion.allCases)
  func aKeyIsPutReadAndDeleted(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, _, http in
      // Members of an answer can be posted back, including a lease of 0.
      try await http.put("copied", "1")
      let read = try await http.get("/keys?key=copied").json
      var copy: [String: JSON] = [:]
      for name in ["key", "value", "lease"] { copy[name] = read[name] }
      expectStatus(200, try await http.post("/keys", .object(copy)))
      expectStatus(200, try await http.post("/txn", ["then": [["put": .object(copy)]]]))
      expectStatus(200, try await http.key("PUT", "copied", "?lease=0", body: "1"))
      let copied = try await http.get("/keys?key=copied").json
      #expect(copied["version"] == 4 && copied["lease"] == "0")
      var generator = SeededGenerator(seed: 12)
      for round in 0..<20 {
        let (key, value) = (KeyText.random(using: &generator), KeyText.random(using: &generator))
        let query = "/keys?key=\(KeyText.encode(key))"
        let name: JSON = .string(Data(key).base64EncodedString())
        let put: JSON = ["key_base64": name, "value_base64": .string(Data(value).base64EncodedString())]
        expectStatus(200, try await http.post("/keys", put))
        for accept in ["*/*", "application/octet-stream", "text/html"] {
          let read = try await http.get(query, headers: [("Accept", accept)])
          expectStatus(200, read)
          #expect(read[header: "Content-Type"] == "application/json" && read.body.last == 0x0a)
          #expect(try read.json.bytes("key") == key && read.json.bytes("value") == value)
        }
        let version = try #require(try await http.get(query).json["mod_revision"])
        let absent: JSON = ["key_base64": name, "value": "x", "if_absent": true]
        expectError(try await http.post("/keys", absent), 412, code: 9)
        let right: JSON = ["key_base64": name, "value": "ä\n", "if_mod_revision": version, "prev": true]
        let replaced = try await http.post("/keys", right)
        expectStatus(200, replaced)
        #expect(try replaced.json["prev"]?.bytes("value") == value)
        expectError(try await http.post("/keys", right), 412, code: 9)
        if round % 2 == 0 { #expect(try await http.get(query).json["value"] == "ä\n") }
        expectStatus(200, try await http.request("DELETE", query))
        expectError(try await http.get(query), 404, code: 5)
        expectError(try await http.request("DELETE", query), 404, code: 5)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aTransactionIsOne(_ version: EtcdVersion) async throws {
    try await withKeys(version, gateway: ["--max-txn-ops", "20"]) { _, _, http in
      let first = try await http.put("a", "1")
      let answer = try await http.post(
        "/txn",
        [
          "if": [
            ["key": "a", "mod_revision": .number(Double(first))], ["key": "b", "version": 0],
            ["key": "a", "value": "2", "is": "!="], ["key": "a", "lease": "0"],
          ],
          "then": [
            ["put": ["key": "b", "value_base64": "/w==", "prev": true]], ["get": ["key": "b"]],
            ["get": ["key": "none"]], ["get": ["prefix": "", "all": true, "order": "desc", "keys_only": true]],
            ["delete": ["key": "a"]], ["get": ["all": true, "count_only": true]],
            [
              "txn": [
                // etcd compares before it does anything: the key is still there.
                "if": [["key": "a", "version": 0]], "then": [["delete": ["key": "d"]]],
                "else": [["put": ["key": "c", "value": "3"]], ["txn": ["else": []]]],
              ]
            ],
          ],
        ])
      expectStatus(200, answer)
      let revision: JSON = .number(Double(first + 1))
      let json = try answer.json
      #expect(json["revision"] == revision && json["succeeded"] == true)
      let responses = try #require(json["responses"]?.array)
      try #require(responses.count == 7)
      #expect(responses[0] == ["put": ["revision": revision, "prev": .null]])
      #expect(responses[1]["get"]?.bytes("value") == [0xff] && responses[1]["get"]?["version"] == 1)
      #expect(responses[2] == ["get": .null])
      let keys = responses[3]["get"]?["keys"]?.array ?? []
      #expect(keys.map { $0["key"] } == ["b", "a"] && keys.allSatisfy { $0["value"] == nil })
      #expect(responses[4] == ["delete": ["deleted": 1, "revision": revision]])
      #expect(responses[5] == ["get": ["revision": revision, "count": 1]])
      let nested: JSON = [
        "txn": [
          "revision": revision, "succeeded": false,
          "responses": [
            ["put": ["revision": revision]], ["txn": ["revision": revision, "succeeded": true, "responses": []]],
          ],
        ]
      ]
      #expect(responses[6] == nested)

      let lost = try await http.post(
        "/txn",
        ["if": [["key": "c", "value": "4"]], "then": [["delete": ["all": true]]], "else": [["get": ["key": "c"]]]])
      #expect(try lost.json["succeeded"] == false)
      #expect(try lost.json["responses"]?.array?.first?["get"]?["value"] == "3")
      // More than is kept whole.
      let long = String(repeating: "x", count: 30_000)
      for number in 0..<8 { try await http.put("long/\(number)", long) }
      let reads: JSON = ["then": [["get": ["prefix": "long/"]], ["get": ["key": "c"]]]]
      let large = try await http.post("/txn", ["then": [["txn": reads], ["get": ["key": "c"]]]])
      #expect(large[header: "Content-Length"] == nil && large[header: "X-Etcd-Revision"] != nil)
      #expect(large.body.last == 0x0a && large.body.dropLast().last == UInt8(ascii: "}"))
      let all = try large.json["responses"]?.array ?? []
      try #require(all.count == 2)
      let inner = all[0]["txn"]?["responses"]?.array ?? []
      let values = inner.first?["get"]?["keys"]?.array?.map { $0["value"]?.string }
      #expect(values == Array(repeating: long, count: 8))
      #expect(inner.last?["get"]?["value"] == "3" && all[1]["get"]?["value"] == "3")

      // Bodies that are kept only for clients that etcd knows.
      let deep = String(repeating: #"{"then":[{"txn":"#, count: 6000)
      let many = #"{"then":["# + Array(repeating: #"{"get":{"key":"a"}}"#, count: 21).joined(separator: ",") + "]}"
      for (body, name) in [
        (many, "then[20]: a transaction has at most 20 comparisons and operations (--max-txn-ops)"),
        (deep, "nested more than 3"), (String(repeating: "[", count: 100_000), "expected an object"),
      ] {
        let response = try await http.request("POST", "/txn", body: Array(body.utf8))
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(response)")
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aLeaseIsGrantedRenewedAndRevoked(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, gateway, http in
      try await etcd.enableAuth(rootPassword: "rootpw")
      func ask(_ method: String, _ path: String, _ body: JSON? = nil) async throws -> HTTPResponse {
        try await http.request(
          method, path, headers: [("Authorization", "Basic \("root:rootpw".base64)")],
          body: body.map { Array($0.description.utf8) })
      }
      let granted = try await ask("POST", "/leases", ["ttl": "60s"])
      expectStatus(200, granted)
      let id = try #require(try granted.json["id"]?.string)
      #expect(try granted.json["ttl"] == 60)
      #expect(try await ask("POST", "/leases", ["ttl": 90, "id": "77"]).json == ["id": "77", "ttl": 90])
      // As much as etcd accepts.
      #expect(try await ask("POST", "/leases", ["ttl": "9000000000s", "id": "78"]).json["ttl"] == 9_000_000_000)
      expectStatus(200, try await ask("POST", "/keys", ["key": "a", "value": "1", "lease": .string(id)]))
      let left = try await ask("GET", "/leases/\(id)?keys=true").json
      #expect(left["granted_ttl"] == 60 && left["keys"] == [["key": "a"]])
      #expect(try await ask("POST", "/leases/\(id)/keepalive").json == ["id": .string(id), "ttl": 60])
      let all = try await ask("GET", "/leases").json["leases"]?.array ?? []
      #expect(Set(all.compactMap { $0["id"]?.string }) == [id, "77", "78"])
      // etcd has negative IDs, too.
      #expect(try await ask("POST", "/leases", ["ttl": 90, "id": "-77"]).json == ["id": "-77", "ttl": 90])
      expectStatus(200, try await ask("POST", "/keys", ["key": "n", "value": "1", "lease": "-77"]))
      expectStatus(200, try await ask("PUT", "/keys/n?lease=-77", "1"))
      let compared: JSON = ["if": [["key": "n", "lease": "-77"]]]
      #expect(try await ask("POST", "/txn", compared).json["succeeded"] == true)
      #expect(try await ask("GET", "/leases/-77?keys=true").json["keys"] == [["key": "n"]])
      expectStatus(200, try await ask("DELETE", "/leases/-77"))
      expectStatus(200, try await ask("DELETE", "/leases/\(id)"))
      expectError(try await ask("GET", "/keys?key=a"), 404, code: 5)
      for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/keepalive")] {
        expectError(try await ask(method, "/leases/\(id)\(rest)"), 404, code: 5)
      }
      expectStatus(401, try await http.request("POST", "/leases/77/keepalive"))
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func changesAreToldAtAPathOfTheirOwn(_ version: EtcdVersion) async throws {
    try await withKeys(version) { _, gateway, http in
      let first = try await http.put("a", "1")
      try await http.put("b", "2")
      for query in ["prefix=", "key=b"] {
        let told = try await http.get("/changes?\(query)&since=\(first)&wait=30s").json
        #expect(told["revision"] == .number(Double(first + 1)))
        #expect(told["events"]?.array?.map { $0["key"] } == ["b"])
        let same = try await http.get("/keys?\(query)&since=\(first)&wait=30s").json
        #expect(same == told)
      }
      for form in WatchForm.allCases {
        for query in ["prefix=", "key=b"] {
          let reader = try await KeyWatchReader.open(gateway.url, "/changes?\(query)&since=\(first)", as: form)
          #expect(try await reader.head()["Content-Type"] == form.rawValue)
          #expect(try await reader.nextChange().mark == "b@\(first + 1)")
          await reader.close()
        }
      }
    }
  }

  @Test func aPageShowsText() async throws {
    try await withKeys(.v3_5) { _, _, http in
      let page = [("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")]
      expectStatus(200, try await http.key("PUT", Array("a".utf8), body: Array("<b>ä</b>".utf8)))
      expectStatus(200, try await http.key("PUT", Array("b".utf8), body: [0xff]))
      let text = try await http.key("GET", "a", headers: page)
      #expect(text[header: "Content-Type"] == "text/plain; charset=utf-8" && text.text == "<b>ä</b>")
      for headers in [page, [("Accept", "text/plain")]] {
        #expect(try await http.key("GET", "b", headers: headers)[header: "Content-Type"] == "application/octet-stream")
      }
      #expect(try await http.key("GET", "a")[header: "Content-Type"] == "application/octet-stream")
      // A program that also names another type gets that one.
      let named = [
        ("text/html, application/json;q=0.1", "application/json"),
        ("application/octet-stream, text/html", "application/octet-stream"),
        ("text/html", "text/plain; charset=utf-8"), ("text/html;q=0", "application/octet-stream"),
        ("text/plain", "text/plain; charset=utf-8"), ("text/plain, application/json", "text/plain; charset=utf-8"),
        ("application/json, text/plain", "application/json"), ("text/plain;q=0", "application/octet-stream"),
        ("text/html, text/plain;q=0.5", "text/plain; charset=utf-8"),
      ]
      for (accept, type) in named {
        let response = try await http.key("GET", "a", headers: [("Accept", accept)])
        #expect(response[header: "Content-Type"] == type, "\(accept)")
      }
      let lines = try await http.key("GET", "a", headers: [("Accept", "text/html"), ("Accept", "application/json")])
      #expect(lines[header: "Content-Type"] == "application/json")
    }
  }

  /// Path, body, and a part of the message.
  private static let badInput: [(String, String, String)] = [
    ("/keys", "", "unexpected end"), ("/keys", "[]", "expected an object"), ("/keys", "{}", "'key'"),
    ("/keys", #"{"key":"a"}"#, "'value'"), ("/keys", #"{"key":"","value":"1"}"#, "key: the key is empty"),
    ("/keys", #"{"key":"a","key":"a"}"#, "key: the field occurs twice"),
    ("/keys", #"{"key":"a","key_base64":"YQ=="}"#, "key_base64: it occurs as text"),
    ("/keys", #"{"key":"a","valeu":"1"}"#, "valeu: unknown field: expected one of key,"),
    ("/keys", #"{"key":"a","value":1}"#, "value: expected a string"),
    ("/keys", #"{"key":"a","value_base64":"?"}"#, "value_base64: not valid base64"),
    ("/keys", #"{"key":"a","value":"1","lease":NaN}"#, "lease: expected an integer"),
    ("/keys", #"{"key":"a","value":"1","lease":1e99}"#, "lease: expected an integer"),
    ("/keys", #"{"key":"a","value":"1","lease":"+1"}"#, "lease: expected an integer"),
    ("/keys", #"{"key":"a","value":"1","ttl":"0s"}"#, "ttl: expected a time"),
    ("/keys", #"{"key":"a","value":"1","ttl":"0x5"}"#, "ttl: expected a time"),
    ("/keys", #"{"key":"a","value":"1","lease":"--1"}"#, "lease: expected an integer of 64 bits"),
    ("/keys", #"{"key":"a","value":"1","ttl":1e30}"#, "ttl: expected an integer"),
    ("/keys", #"{"key":"a","value":"1","ttl":"5s","lease":1}"#, "'lease'"),
    ("/keys", #"{"key":"a","value":"1","if_absent":true,"if_mod_revision":3}"#, "two conditions"),
    ("/keys", #"{"key":"a","value":"1"} {}"#, "unexpected bytes after the value"),
    ("/keys?ttl=5s", #"{"key":"a","value":"1"}"#, "'ttl'"),
    ("/keys?key=a", #"{"value":"1"}"#, "unknown query parameter 'key': parameters go into the body, as JSON"),
    ("/txn?then=5", "{}", "go into the body"), ("/leases?ttl=5s", "{}", "go into the body"),
    ("/txn", #"{"then":[{"get":{"key":"a"}},{"put":{"key":5}}]}"#, "then[1].put.key: expected a string"),
    ("/txn", #"{"then":[{"put":{"key":"a","value":"","ttl":"5s"}}]}"#, "then[0].put.ttl: "),
    ("/txn", #"{"then":[{"put":{"key":"a","value":""},"get":{"key":"a"}}]}"#, "then[0].get: an element has one"),
    ("/txn", #"{"then":[{}]}"#, "then[0]: an operation is missing"),
    ("/txn", #"{"else":[{"delete":{"prefix":""}}]}"#, "else[0].delete: this selects all keys"),
    ("/txn", #"{"then":[{"get":{"key":"a","prefix":"b"}}]}"#, "then[0].get: 'key' selects one key"),
    ("/txn", #"{"then":[{"get":{"prefix":"a","sort":"size"}}]}"#, "then[0].get.sort: expected one of key,"),
    ("/txn", #"{"if":[{"key":"a"}]}"#, "if[0]: the value to compare is missing"),
    ("/txn", #"{"if":[{"key":"a","version":1,"is":"~"}]}"#, "if[0].is: expected one of"),
    ("/txn", #"{"if":[{"key":"a","version":-1}]}"#, "if[0].version: expected an integer from 0"),
    ("/txn", #"{"if":[{"key":"a","version":1,"lease":1}]}"#, "if[0].lease: a comparison compares one value"),
    ("/txn", String(repeating: #"{"then":[{"txn":"#, count: 4) + "{}", "nested more than 3"),
    ("/txn", String(repeating: "[", count: 1000), "expected an object"),
    ("/leases", "{}", "'ttl' is missing"), ("/leases", #"{"ttl":"60s","id":0}"#, "id: expected an integer"),
    ("/leases/0/keepalive", "", "the lease"), ("/leases/+1/keepalive", "", "the lease"),
    ("/leases/-0/keepalive", "", "the lease"), ("/leases/9223372036854775808/keepalive", "", "the lease"),
  ]

  @Test func badInputIsNamed() async throws {
    try await withoutEtcd { http in
      for (path, body, name) in Self.badInput {
        let response = try await http.request("POST", path, body: Array(body.utf8))
        expectError(response, 400, code: 3)
        #expect(response.message?.contains(name) == true, "\(path) \(body.prefix(100)): \(response)")
      }
      let broken = try await http.request("POST", "/keys", body: Array(#"{"key":""#.utf8) + [0xff] + Array(#""}"#.utf8))
      #expect(broken.message?.contains("key: not valid UTF-8") == true, "\(broken)")
      let conditional = try await http.request(
        "POST", "/keys", headers: [("If-Match", "\"1\"")], body: Array(#"{"key":"a","value":"1"}"#.utf8))
      expectError(conditional, 400, code: 3)
      for path in ["/leases/1/2", "/txn/", "/changes/a"] { expectError(try await http.get(path), 404, code: 5) }
      expectError(try await http.request("PUT", "/leases", body: []), 405, code: 12)
    }
  }
}
