import Glibc
import TestSupport
import Testing

/// `GET` with `wait` and `since`: one answer, as soon as there is a change.
@Suite(.timeLimit(.minutes(15)))
struct KeyWaitTests {
  @Test(arguments: EtcdVersion.allCases)
  func theFirstChangesAreTheAnswer(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, gateway, http in
      // What has happened already is answered at once.
      try await http.put("a/1", "x")
      let first = try await http.get("/keys?prefix=a/&wait=10m&since=1")
      #expect(first[header: "X-Etcd-Revision"] == "2" && first[header: "Cache-Control"] == "no-store")
      #expect(
        try first.json == [
          "revision": 2,
          "events": [
            [
              "type": "put", "key": "a/1", "value": "x", "create_revision": 2, "mod_revision": 2, "version": 1,
              "lease": "0",
            ]
          ],
        ])
      // A later change is waited for.
      async let later = gateway.http.get("/keys/a/1?wait=10m&since=2")
      _ = try await eventually("watcher") { try await etcd.watchers() == 1 ? true : nil }
      try await http.put("b")
      let revision = try #require(try await http.key("DELETE", "a/1").json["revision"])
      let event: JSON = ["type": "delete", "key": "a/1", "mod_revision": revision]
      #expect(try await later.json == ["revision": revision, "events": [event]])
      try await etcd.awaitWatchers(0)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func theWaitEndsWithNothing(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, gateway, http in
      for query in ["wait=1s&since=1", "wait=1s&since=700"] {
        let response = try await http.get("/keys/a?\(query)")
        let since: JSON = query.hasSuffix("=1") ? 1 : 700
        #expect(try response.json == ["revision": since, "events": []], "\(response)")
      }
      // The client's own limit counts, too.
      let hasty = try await http.get("/keys/a?wait=10m&since=1", headers: [("Request-Timeout", "1")])
      #expect(try hasty.json == ["revision": 1, "events": []], "\(hasty)")
      // The connection stays usable.
      try await http.put("a")
      #expect(try await http.get("/keys/a?wait=60s&since=1").json["revision"] == 2)
      try await etcd.awaitWatchers(0)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whatIsCompactedIsGone(_ version: EtcdVersion) async throws {
    try await withKeys(version) { etcd, gateway, http in
      for _ in 0..<5 { try await http.put("a") }
      try await etcd.call("/v3/kv/compaction", ["revision": "4"])
      expectError(try await http.get("/keys/a?wait=10s&since=1"), 410, code: 11, "since 1")
      #expect(try await http.get("/keys/a?wait=10s&since=3").json["events"]?[0]?["mod_revision"] == 4)
    }
  }

  /// A client that waits again and again where nothing changes does not fall behind the compaction of the rest.
  @Test(arguments: EtcdVersion.allCases)
  func whoWaitsWhereNothingHappensStaysUpToDate(_ version: EtcdVersion) async throws {
    let flags = ["--watch-progress-interval", "1s"]
    try await withKeys(version, gateway: flags) { etcd, _, http in
      let begin = try await http.put("quiet")
      var end = begin
      for _ in 0..<5 { end = try await http.put("loud") }
      var since = begin
      _ = try await eventually("an answer that is up to date") {
        let answer = try await http.get("/keys/quiet?wait=5s&since=\(since)").json
        #expect(answer["events"] == [])
        since = Int(try #require(answer["revision"]?.number))
        #expect(since <= end)
        return since == end ? true : nil
      }
      try await etcd.call("/v3/kv/compaction", ["revision": .string("\(end)")])
      expectStatus(200, try await http.get("/keys/quiet?wait=1s&since=\(since)"))
      expectError(try await http.get("/keys/quiet?wait=60s&since=\(begin)"), 410)
    }
  }

  /// The answer is made once for all clients with the same wait, and kept once.
  @Test func manyWhoWaitForTheSameShareTheirAnswer() async throws {
    try await withKeys(.v3_5, gateway: ["--shards", "1", "--max-memory", "32M"]) { _, gateway, http in
      for number in 0..<4 { try await http.put("big/\(number)", String(repeating: "v", count: 1_000_000)) }
      let before = gateway.process.peakResidentBytes
      var clients: [HTTPConnection] = []
      // What arrives while the gateway is stopped is handled all at once when it continues: before there is an answer.
      gateway.process.signal(SIGSTOP)
      for _ in 0..<50 {
        let client = try await HTTPConnection.connect(to: gateway.url)
        try await client.sendRequest("GET", "/keys?prefix=big/&wait=10m&since=1")
        clients.append(client)
      }
      gateway.process.signal(SIGCONT)
      for client in clients {
        let answer = try await client.receive()
        expectStatus(200, answer)
        #expect(try answer.json["events"]?.array?.isEmpty == false && answer.text.hasSuffix("]}\n"))
        #expect(answer[header: "X-Etcd-Revision"] == (try answer.json["revision"]?.number).map { "\(Int($0))" })
      }
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 100 << 20, "\(grown)")
    }
  }

  @Test func whoLeavesIsNotWaitedFor() async throws {
    try await withKeys(.v3_5) { etcd, gateway, _ in
      let leaving = try await HTTPConnection.connect(to: gateway.url)
      try await leaving.sendRequest("GET", "/keys/a?wait=10m&since=1")
      _ = try await eventually("watcher") { try await etcd.watchers() == 1 ? true : nil }
      await leaving.reset()
      try await etcd.awaitWatchers(0)
    }
  }

  /// A client that waits again and again misses nothing, while etcd is restarted, too.
  @Test(arguments: EtcdVersion.allCases)
  func oneAnswerFollowsOnTheOther(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      let poll = Task {
        var marks: [String] = []
        var since = 1
        while !marks.contains(where: { $0.hasPrefix("w/last@") }) {
          try Task.checkCancellation()
          guard let response = try? await gateway.http.get("/keys?prefix=w/&wait=10s&since=\(since)"),
            response.status == 200
          else { continue }
          for event in try response.json["events"]?.array ?? [] {
            marks.append(KeyNews(type: event["type"]?.string ?? "", id: nil, data: event).mark)
          }
          since = Int(try #require(try response.json["revision"]?.number))
        }
        return marks
      }
      defer { poll.cancel() }
      try await Transactions.write(to: etcd) { writer in
        try await writer.awaitMore(30)
        try await etcd.restart()
        try await writer.awaitMore(30)
      }
      let marks = try await poll.value
      #expect(marks == (try await Transactions.written(gateway.url)))
    }
  }
}
