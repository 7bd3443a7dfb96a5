import Foundation
import TestSupport
import Testing

/// `/elections` at a real etcd with authentication on, beside `etcdctl elect`.
@Suite(.timeLimit(.minutes(15)))
struct ElectionTests {
  private static let user = "ann:annpw"

  @Test(arguments: EtcdVersion.allCases)
  func aLeaderIsElectedProclaimsAndResigns(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      let queue = QueueClient(gateway.http, "/elections/", user: Self.user)
      var readers: [KeyWatchReader] = []
      for form in WatchForm.allCases {
        readers.append(
          try await KeyWatchReader.open(gateway.url, "/elections/e/changes?heartbeat=1h", as: form, user: Self.user))
      }
      func expectTold(_ leadership: JSON) async throws {
        var told = leadership.object ?? [:]
        (told["ttl"], told["type"]) = (nil, "leader")
        for reader in readers {
          let news = try #require(try await reader.next())
          #expect(news.type == "leader" && news.data == .object(told))
        }
      }
      expectError(try await queue.ask("GET", "e"), 404, code: 5, message: "no client leads")
      let answer = try await queue.ask("POST", "e", ["value": "one", "ttl": "60s"])
      expectStatus(200, answer)
      let leadership = try answer.json
      let lease = try #require(leadership["lease"]?.string)
      #expect(leadership["name"] == "e" && leadership["value"] == "one" && leadership["ttl"] == 60)
      for (reader, form) in zip(readers, WatchForm.allCases) {
        #expect(try await reader.head()["Content-Type"] == form.rawValue)
      }
      try await expectTold(leadership)

      let second = try await queue.ask("POST", "e", ["value": "two", "ttl": "60s"])
      expectError(second, 409, code: 10, message: "another client leads")
      let renewed = try await queue.ask("POST", "e/keepalive", ["lease": .string(lease)])
      #expect(try renewed.json == leadership)
      let other = try #require(try await queue.grant())
      let wrong: JSON = ["lease": .string(other), "value": "x"]
      expectError(
        try await queue.ask("PUT", "e", wrong), 409, code: 10, message: "the lease \(other) does not lead")
      expectError(try await queue.ask("PUT", "e", ["lease": "5", "value": "x"]), 404, code: 5)
      expectError(try await queue.ask("DELETE", "e?lease=\(other)"), 404, code: 5)
      let proclaimed = try await queue.ask("PUT", "e", ["lease": .string(lease), "value_base64": "/w=="])
      expectStatus(200, proclaimed)
      #expect(try proclaimed.json["value_base64"] == "/w==" && proclaimed.json["value"] == nil)
      #expect(try await queue.ask("GET", "e").json == proclaimed.json)
      try await expectTold(try proclaimed.json)

      // etcdctl waits for the lead, and the gateway's client for etcdctl.
      let control = try await fixture.startControl("elect", "e", "control")
      try await fixture.awaitQueue("e", 2)
      async let third = queue.ask("POST", "e", ["value": "three", "ttl": "60s", "wait": "10m"])
      try await fixture.awaitQueue("e", 3)
      let leaving = try await HTTPConnection.connect(to: gateway.url)
      try await leaving.sendRequest(
        "POST", "/elections/e", headers: basic(Self.user),
        body: Array(#"{"value":"four","ttl":"60s","wait":"10m"}"#.utf8))
      try await fixture.awaitQueue("e", 4)
      await leaving.close()
      try await fixture.awaitQueue("e", 3)
      expectStatus(200, try await queue.ask("DELETE", "e?lease=\(lease)"))
      let leader = try await eventually("etcdctl's lead") {
        let leader = try await queue.ask("GET", "e").json
        return leader["value"] == "control" ? leader : nil
      }
      try await expectTold(leader)
      control.signal(SIGINT)
      _ = try await control.exit()
      let led = try await third
      expectStatus(200, led)
      try await expectTold(try led.json)
      for reader in readers { await reader.close() }
      let last = try #require(try led.json["lease"]?.string)
      expectStatus(200, try await queue.ask("DELETE", "e?lease=\(last)"))
      try await fixture.awaitQueue("e", 0)

      // A value may be as large as any other.
      let large = JSON.string(String(repeating: "v", count: 200_000))
      let long = try await queue.ask("POST", "e", ["value": large, "ttl": "60s"])
      expectStatus(200, long)
      #expect(try await queue.ask("GET", "e").json["value"] == large)
      let its = try #require(try long.json["lease"]?.string)
      expectStatus(200, try await queue.ask("DELETE", "e?lease=\(its)"))

      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      for (user, status) in [("bob:bobpw", 403), ("ann:wrong", 401)] {
        expectStatus(status, try await gateway.http.get("/elections/e", user: user))
        let campaign: JSON = ["value": "x", "ttl": "60s", "wait": "10s"]
        expectStatus(status, try await gateway.http.post("/elections/e", campaign, user: user))
      }
    }
  }
}
