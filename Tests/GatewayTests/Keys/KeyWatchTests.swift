import Foundation
import TestSupport
import Testing

/// `GET` with `watch=true`: changes as they happen.
@Suite(.timeLimit(.minutes(15)))
struct KeyWatchTests {
  @Test(arguments: EtcdVersion.allCases, WatchForm.allCases)
  func keysAndRangesAreWatched(_ version: EtcdVersion, _ form: WatchForm) async throws {
    try await withKeys(version, gateway: ["--cors", "https://a.example"]) { etcd, gateway, http in
      let origin = [("Origin", "https://a.example")]
      let key = try await KeyWatchReader.open(gateway.url, "/keys/a/1?watch=true", as: form, headers: origin)
      let range = try await KeyWatchReader.open(gateway.url, "/keys?watch=true&prefix=a/", as: form)
      let between = try await KeyWatchReader.open(gateway.url, "/keys?watch=true&from=a/2&to=a%2F3", as: form)
      for reader in [key, range, between] {
        let head = try await reader.head()
        #expect(head.status == 200 && head["Content-Type"] == form.rawValue)
        #expect(head["X-Etcd-Revision"] == "1" && head["Cache-Control"]?.contains("no-store") == true)
        #expect(head["X-Content-Type-Options"] == "nosniff")
        let first = try await reader.next()
        let id = form == .events ? "1" : nil
        #expect(first == KeyNews(type: "progress", id: id, data: ["type": "progress", "revision": 1]))
      }
      #expect(try await key.head()["Access-Control-Allow-Origin"] == "https://a.example")
      #expect(await key.retry == (form == .events ? 1000 : nil))

      try await http.put("a/1", "grüße\n\"x\"")
      expectStatus(200, try await http.key("PUT", Array("a/2".utf8), body: [0xff, 0]))
      try await http.put("b")
      let put: (String, String) -> JSON = { ["request_put": ["key": .string($0.base64), "value": .string($1.base64)]] }
      try await etcd.call(
        "/v3/kv/txn", ["success": [put("a/1", "x"), ["request_delete_range": ["key": .string("a/2".base64)]]]])
      expectStatus(200, try await http.key("DELETE", "a/1"))

      func news(_ id: String, _ data: JSON) -> KeyNews {
        KeyNews(type: data["type"]?.string ?? "", id: form == .events ? id : nil, data: data)
      }
      let created: JSON = [
        "type": "put", "key": "a/1", "value": "grüße\n\"x\"", "create_revision": 2, "mod_revision": 2, "version": 1,
        "lease": "0",
      ]
      let binary: JSON = [
        "type": "put", "key": "a/2", "value_base64": "/wA=", "create_revision": 3, "mod_revision": 3, "version": 1,
        "lease": "0",
      ]
      let changed: JSON = [
        "type": "put", "key": "a/1", "value": "x", "create_revision": 2, "mod_revision": 5, "version": 2, "lease": "0",
      ]
      func deleted(_ key: String, _ revision: Double) -> JSON {
        ["type": "delete", "key": .string(key), "mod_revision": .number(revision)]
      }
      for expected in [news("2", created), news("5", changed), news("6", deleted("a/1", 6))] {
        #expect(try await key.nextChange() == expected)
      }
      for expected in [
        news("2", created), news("3", binary), news("5-1", changed), news("5", deleted("a/2", 5)),
        news("6", deleted("a/1", 6)),
      ] {
        #expect(try await range.nextChange() == expected)
      }
      for expected in [news("3", binary), news("5", deleted("a/2", 5))] {
        #expect(try await between.nextChange() == expected)
      }
    }
  }

  /// Keys of any bytes, and the lease in full.
  @Test func anyKeyIsWatched() async throws {
    try await withKeys(.v3_5) { _, gateway, http in
      var generator = SeededGenerator(seed: 5)
      let all = try await KeyWatchReader.open(gateway.url, "/keys?watch=true", as: .events)
      _ = try await all.next()
      for _ in 0..<50 {
        let key = KeyText.random(using: &generator)
        let one = try await KeyWatchReader.open(gateway.url, "/keys/\(KeyText.encode(key))?watch=true", as: .lines)
        _ = try await one.next()
        let response = try await http.key("PUT", key, "?ttl=600s", body: key)
        let lease = try #require(try response.json["lease"]?.string, "\(response)")
        for reader in [one, all] {
          let change = try await reader.nextChange()
          #expect(change.data.bytes("key") == key && change.data.bytes("value") == key)
          #expect(change.data["lease"]?.string == lease && lease != "0")
        }
        await one.close()
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases, WatchForm.allCases)
  func sinceBeginsAfterARevision(_ version: EtcdVersion, _ form: WatchForm) async throws {
    try await withKeys(version) { _, gateway, http in
      for _ in 0..<4 { try await http.put("a") }
      for since in 0...6 {
        let reader = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true&since=\(since)", as: form)
        #expect(try await reader.head()["X-Etcd-Revision"] == "\(since)")
        #expect(try await reader.next()?.revision == since)
        // A future revision may be named, too.
        for revision in max(2, since + 1)..<max(6, since + 1) {
          #expect(try await reader.nextChange().revision == revision)
        }
        await reader.close()
      }
      let reader = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true&since=6", as: form)
      _ = try await reader.next()
      for _ in 6...8 { try await http.put("a") }
      #expect(try await reader.nextChange().revision == 7)
      let end = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true&since=\(Int64.max)", as: form)
      #expect(try await end.next()?.type == "progress")
    }
  }

  /// Wherever a transaction is cut, the rest of it comes, and nothing twice.
  @Test(arguments: EtcdVersion.allCases, WatchForm.allCases)
  func aTransactionIsGoneOnWithInTheMiddle(_ version: EtcdVersion, _ form: WatchForm) async throws {
    try await withKeys(version) { etcd, gateway, http in
      try await http.put("w/0")
      for _ in 0..<2 {
        let puts: [JSON] = (1...5).map { ["request_put": ["key": .string("w/\($0)".base64)]] }
        try await etcd.call("/v3/kv/txn", ["success": .array(puts)])
      }
      try await http.put("w/6")
      let target = "/keys?prefix=w/&watch=true&since=1"
      let reader = try await KeyWatchReader.open(gateway.url, target, as: .events)
      let all = try await reader.changes(through: 5)
      #expect(all.map(\.id) == ["2", "3-1", "3-2", "3-3", "3-4", "3", "4-1", "4-2", "4-3", "4-4", "4", "5"])
      for (index, news) in all.enumerated().dropLast() {
        let again = try await KeyWatchReader.open(gateway.url, target, as: form, lastEventID: news.id)
        let first = try #require(try await again.next())
        if form == .events { #expect(first.id == news.id) }
        #expect(
          first.type == "progress"
            && first.revision == (news.id == "\(news.revision!)" ? news.revision : news.revision! - 1))
        #expect(try await again.changes(through: 5).map(\.data) == all[(index + 1)...].map(\.data), "\(news.id!)")
        await again.close()
      }
      // A client that counts need not know how many there are.
      let counted = try await KeyWatchReader.open(gateway.url, target, as: form, lastEventID: "4-5")
      #expect(try await counted.changes(through: 5).map(\.data) == [all.last!.data])
    }
  }

  @Test(arguments: EtcdVersion.allCases, WatchForm.allCases)
  func whatIsCompactedIsSaid(_ version: EtcdVersion, _ form: WatchForm) async throws {
    try await withKeys(version) { etcd, gateway, http in
      for _ in 0..<5 { try await http.put("a") }
      try await etcd.call("/v3/kv/compaction", ["revision": "4"])
      let reader = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true&since=1", as: form)
      #expect(try await reader.next()?.type == "progress")
      let news = try #require(try await reader.next())
      #expect(news.data == ["type": "compacted", "compact_revision": 4] && news.type == "compacted")
      #expect(try await reader.next() == nil)
      guard form == .events else { return }
      // A browser reconnects with that, and gets the changes since.
      #expect(news.id == "3")
      let again = try await KeyWatchReader.open(
        gateway.url, "/keys/a?watch=true&since=1", as: form, lastEventID: news.id)
      #expect(try await again.changes(through: 6).map(\.id) == ["4", "5", "6"])
    }
  }

  /// A quiet watch reports its progress, and can be resumed from there whatever has been compacted.
  @Test(arguments: EtcdVersion.allCases)
  func aQuietWatchTellsItsProgress(_ version: EtcdVersion) async throws {
    try await withKeys(version, gateway: ["--watch-progress-interval", "1s"]) { etcd, gateway, http in
      let target = "/keys?prefix=a/&watch=true&heartbeat=1s"
      let events = try await KeyWatchReader.open(gateway.url, target, as: .events)
      let lines = try await KeyWatchReader.open(gateway.url, target, as: .lines)
      let first = try #require(try await events.next())
      #expect(try await lines.next()?.revision == first.revision)
      var other = 0
      for _ in 0..<5 { other = try await http.put("b") }
      var progress = try #require(try await events.next())
      while progress.type == "progress" && progress.revision ?? other < other {
        progress = try #require(try await events.next())
      }
      #expect(progress.type == "progress" && progress.id == "\(other)" && progress.revision == other)
      // There is a line for each beat, with changes or without.
      for _ in 0..<3 { #expect(try await lines.next()?.type == "progress") }
      try await etcd.call("/v3/kv/compaction", ["revision": .string("\(other)")])
      await events.close()
      let again = try await KeyWatchReader.open(gateway.url, target, as: .events, lastEventID: progress.id)
      #expect(try await again.next()?.type == "progress")
      let put = try await http.put("a/1")
      #expect(try await again.nextChange().revision == put)
      // Without a change there is a comment, which a page does not see.
      let comments = await again.comments
      async let next = again.nextChange()
      _ = try await eventually("comments") { await again.comments > comments + 1 ? true : nil }
      let last = try await http.put("a/2")
      #expect(try await next.revision == last)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func readersShareAWatcher(_ version: EtcdVersion) async throws {
    try await withKeys(version, gateway: ["--shards", "1"]) { etcd, gateway, http in
      var readers: [KeyWatchReader] = []
      for number in 0..<30 {
        let form: WatchForm = number % 2 == 0 ? .lines : .events
        readers.append(try await .open(gateway.url, "/keys?prefix=w/&watch=true", as: form))
      }
      for reader in readers { #expect(try await reader.next()?.type == "progress") }
      let old = try await WatchReader.open(gateway.url, key: "w/", ["range_end": .string("w0".base64)])
      try await http.put("w/1")
      for reader in readers { #expect(try await reader.nextChange().revision == 2) }
      try await etcd.awaitWatchers(1)
      for revision in 3...10 {
        try await http.put("w/\(revision)")
        for reader in readers {
          let news = try await reader.nextChange()
          #expect(news.data["key"] == .string("w/\(revision)") && news.revision == revision)
        }
      }
      #expect(try await old.revisions(through: 10) == Array(2...10))
      for reader in readers { await reader.close() }
      await old.stream.close()
      try await etcd.awaitWatchers(0)
    }
  }

  @Test func anOldClientGetsNoChunks() async throws {
    try await withKeys(.v3_5) { _, gateway, http in
      for form in WatchForm.allCases {
        let reader = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: form, isOld: true)
        #expect(try await reader.head()["Transfer-Encoding"] == nil)
        #expect(try await reader.next()?.type == "progress")
        let revision = try await http.put("a")
        #expect(try await reader.nextChange().revision == revision)
        await reader.close()
      }
    }
  }

  @Test func aGatewayThatStopsSaysSo() async throws {
    try await withKeys(.v3_5, gateway: ["--shards", "1"]) { etcd, gateway, _ in
      var readers: [KeyWatchReader] = []
      for form in WatchForm.allCases { readers.append(try await .open(gateway.url, "/keys/a?watch=true", as: form)) }
      for reader in readers { #expect(try await reader.next()?.type == "progress") }
      try await etcd.awaitWatchers(1)
      async let wait = gateway.http.get("/keys/b?wait=10m&since=1")
      _ = try await eventually("second watcher") { try await etcd.watchers() == 2 ? true : nil }
      try await gateway.stop()
      for reader in readers {
        let news = try #require(try await reader.next())
        #expect(news.type == "error" && news.id == nil && news.data["error"]?["grpc_code"] == 14, "\(news)")
        #expect(try await reader.next() == nil)
      }
      let answer = try await wait
      #expect(try answer.json == ["revision": 1, "events": []], "\(answer)")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aReaderThatStopsCostsNobodyButItself(_ version: EtcdVersion) async throws {
    try await withKeys(version, gateway: ["--shards", "1", "--stall-timeout", "10m"]) { _, gateway, http in
      let value = String(repeating: "x", count: 300_000)
      let slow = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: .events, receiveBuffer: 65536)
      let fast = try await KeyWatchReader.open(gateway.url, "/keys/a?watch=true", as: .events)
      for reader in [slow, fast] { _ = try await reader.next() }
      let memory = gateway.process.residentBytes
      var most = 0
      for _ in 0..<100 {
        let revision = try await http.put("a", value)
        #expect(try await fast.nextChange().revision == revision)
        most = max(most, gateway.process.residentBytes)
      }
      #expect(most - memory < 15 << 20, "\(memory) bytes became \(most) for 30 MB of events")
      await slow.connection.setReceiveBuffer(bytes: 4 << 20)
      #expect(try await slow.changes(through: 101).map(\.revision) == Array(2...101))
    }
  }
}
