import TestSupport
import Testing

/// The answers to requests for changes that are not permitted, or make no sense.
@Suite(.timeLimit(.minutes(15)))
struct KeyWatchRefusalTests {
  @Test(arguments: EtcdVersion.allCases)
  func whoMayNotReadMayNotWatch(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      try await fixture.asRoot("/v3/auth/role/add", ["name": "reader"])
      let permission: JSON = ["permType": "READ", "key": .string("a/".base64), "range_end": .string("a0".base64)]
      try await fixture.asRoot("/v3/auth/role/grant", ["name": "reader", "perm": permission])
      try await fixture.asRoot("/v3/auth/user/grant", ["user": "bob", "role": "reader"])
      for query in ["watch=true", "watch=true&since=1", "wait=10s&since=1"] {
        for (path, isAllowed) in [
          ("/keys/a/1?", true), ("/keys?prefix=a/&", true), ("/keys/b?", false), ("/keys?prefix=a&", false),
          ("/keys?", false),
        ] where !isAllowed || query == "watch=true" {
          for form in WatchForm.allCases {
            let reader = try await KeyWatchReader.open(gateway.url, path + query, as: form, user: "bob:bobpw")
            #expect(try await reader.head().status == (isAllowed ? 200 : 403), "\(path)\(query)")
            if !isAllowed { expectError(try await reader.response(), 403, code: 7) }
            await reader.close()
          }
        }
        expectChallenge(try await gateway.http.get("/keys/a/1?" + query))
        expectChallenge(try await gateway.http.get("/keys/a/1?" + query, user: "bob:wrong"))
      }
      // A restarted etcd has new tokens.
      let reader = try await KeyWatchReader.open(gateway.url, "/keys/a/1?watch=true", as: .events, user: "bob:bobpw")
      #expect(try await reader.next()?.type == "progress")
      try await fixture.etcd.restart()
      let put = try await gateway.http.request("PUT", "/keys/a/1", user: "ann:annpw", body: [])
      #expect(try await reader.nextChange().revision.map(Double.init) == put.json["revision"]?.number)
    }
  }

  private static let queries: [(query: String, named: String)] = [
    ("watch=yes", "watch"), ("watch=true&watch=true", "watch"), ("watch", "watch"),
    ("watch=true&since=x", "since"), ("watch=true&since=-1", "since"), ("watch=true&since=1.5", "since"),
    ("watch=true&since=9223372036854775808", "since"), ("watch=true&since=", "since"), ("since=5", "since"),
    ("watch=true&wait=5s&since=1", "wait"), ("wait=5s", "since"), ("wait=0s&since=1", "wait"),
    ("wait=11m&since=1", "wait"), ("wait=soon&since=1", "wait"), ("wait=5s&since=1&heartbeat=5s", "heartbeat"),
    ("watch=true&heartbeat=1ms", "heartbeat"), ("watch=true&heartbeat=2h", "heartbeat"),
    ("watch=true&limit=3", "limit"), ("watch=true&revision=3", "revision"), ("watch=true&bogus=1", "bogus"),
    ("watch=true&since=%zz", "since"),
  ]

  @Test func whatMakesNoSenseIs400() async throws {
    try await withKeys(.v3_5) { _, gateway, http in
      for path in ["/keys/a?", "/keys?prefix=a&"] {
        for (query, named) in Self.queries {
          let response = try await http.get(path + query)
          expectError(response, 400, code: 3, "\(path)\(query)")
          #expect(response.message?.contains("\(named)") == true, "\(path)\(query): \(response)")
          expectStatus(400, try await http.request("HEAD", path + query))
        }
        for id in ["x", "4-", "-4", "4-2-1", "4 5", "0-1", "99999999999999999999", "+4", "4.0"] {
          let response = try await http.get(path + "watch=true", headers: [("Last-Event-ID", id)])
          expectError(response, 400, code: 3, "Last-Event-ID: \(id)")
          #expect(response.message?.contains("Last-Event-ID") == true, "\(response)")
        }
      }
      for query in ["watch=true", "wait=5s&since=1"] {
        for range in ["from=b&to=a", "from=b&to=b", "prefix=a&from=b", "to="] {
          expectError(try await http.get("/keys?\(range)&\(query)"), 400, code: 3, "\(range)&\(query)")
        }
        expectError(try await http.get("/keys/?\(query)"), 400, code: 3, query)
        let post = try await http.post("/keys/a?\(query)", "")
        expectError(post, 405, code: 12, query)
      }
    }
  }

  @Test func withoutEtcdTheAnswerIs503() async throws {
    try await withKeys(.v3_5, gateway: ["--dial-timeout", "1s"]) { etcd, gateway, _ in
      await etcd.kill()
      for query in ["watch=true&heartbeat=1s", "wait=30s&since=1"] {
        expectError(try await gateway.http.get("/keys/a?\(query)"), 503, code: 14, query)
      }
      // A browser that reconnects would take any status except 200 for the end.
      let back = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: .events, lastEventID: "1")
      let news = try #require(try await back.next())
      #expect(news.type == "error" && news.id == nil && news.data["error"]?["grpc_code"] == 14, "\(news)")
      #expect(try await back.next() == nil)
      #expect(await back.retry == 1000)
      let lines = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: .lines, lastEventID: "1")
      #expect(try await lines.head().status == 503)
    }
  }

  @Test func thereIsALimitToHowManyWait() async throws {
    try await withKeys(.v3_5, gateway: ["--max-streams", "2"]) { _, gateway, _ in
      var readers: [KeyWatchReader] = []
      for form in WatchForm.allCases { readers.append(try await .open(gateway.url, "/keys/a?watch=true", as: form)) }
      for reader in readers { #expect(try await reader.next()?.type == "progress") }
      for query in ["watch=true", "wait=5s&since=1"] {
        let response = try await gateway.http.get("/keys/a?\(query)")
        expectError(response, 503, code: 14, query)
        #expect(response[header: "Retry-After"] != nil)
      }
      await readers[0].close()
      _ = try await eventually("room") {
        try await gateway.http.get("/keys/a?wait=1s&since=1").status == 200 ? true : nil
      }
    }
  }
}
