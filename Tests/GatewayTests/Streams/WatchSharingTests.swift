import TestSupport
import Testing

/// Equal watches cost etcd one watcher, and no client notices.
@Suite(.timeLimit(.minutes(15)))
struct WatchSharingTests {
  @Test(arguments: EtcdVersion.allCases)
  func identicalWatchesAreOneAtEtcd(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: shardArguments) { etcd, gateway in
      let readers = try await WatchReader.open(50) { _ in try await .open(gateway.url) }
      try await etcd.awaitWatchers(shards)
      #expect(try await etcd.callsUnderWay(of: "Watch") <= shards)
      var last = 0
      for _ in 0..<20 { last = try await etcd.put("a") }
      for reader in readers {
        #expect(try await reader.revisions(through: last) == Array(reader.createdRevision + 1...last))
      }
      for reader in readers { await reader.stream.close() }
      try await etcd.awaitWatchers(0)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func watchesOfDifferentThingsAreNotShared(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      let requests: [JSON] = [
        [:], ["prev_kv": true], ["filters": ["NODELETE"]], ["range_end": "Yg=="], ["filters": ["NOPUT"]],
      ]
      var readers: [WatchReader] = []
      for _ in 0..<2 {
        for request in requests { readers.append(try await .open(gateway.url, request)) }
      }
      readers.append(try await .open(gateway.url, key: "b"))
      _ = try await eventually("one watcher for each request") {
        try await etcd.watchers() == requests.count + 1 ? true : nil
      }
      #expect(try await etcd.callsUnderWay(of: "Watch") == 1)
      for reader in readers { await reader.stream.close() }
    }
  }

  /// While others write, there is no moment at which a new reader could join unnoticed.
  @Test(arguments: EtcdVersion.allCases, Front.allCases)
  func whoeverJoinsAmidWritesMissesNothing(_ version: EtcdVersion, _ front: Front) async throws {
    try await withFront(front, version, gateway: shardArguments) { etcd, url in
      let first = try await etcd.put("a")
      var readers: [(reader: WatchReader, from: Int)] = []
      var seen: [[Int]] = []
      try await Writers.run(8, to: etcd.url) { writers in
        for number in 0..<20 {
          try await writers.awaitMore(20)
          // Every other one starts at an old revision and has to catch up before it can be shared.
          let request: JSON = number % 2 == 0 ? [:] : ["start_revision": .string("\(first)")]
          let reader = try await WatchReader.open(url, request, joinsChunks: front.joinsChunks)
          readers.append((reader, number % 2 == 0 ? reader.createdRevision + 1 : first))
        }
        // Long enough for all to catch up and join, amid the writes.
        seen = try await withThrowingTaskGroup(of: (Int, [Int]).self) { group in
          for (index, (reader, _)) in readers.enumerated() {
            group.addTask { (index, try await reader.revisions(through: reader.createdRevision + 300)) }
          }
          return try await group.reduce(into: Array(repeating: [], count: 20)) { $0[$1.0] = $1.1 }
        }
      }
      let last = try await etcd.put("a")
      for ((reader, from), start) in zip(readers, seen) {
        let all = start + (start.last == last ? [] : try await reader.revisions(through: last))
        // etcd 3.5.30 reads the revision of its answer after the watch began: events up to it may follow. The gateway
        // drops them.
        let first = front == .ours ? from : min(from, all.first ?? from)
        #expect(all == Array(first...last), "from \(first): \(all.gaps(from: first))")
      }
      if front == .ours { try await etcd.awaitWatchers(shards) }
    }
  }
}

extension [Int] {
  /// The places where these revisions are not consecutive, for a failure's message.
  func gaps(from start: Int) -> String {
    var expected = start
    var found: [String] = []
    for (index, revision) in enumerated() {
      if revision != expected { found.append("\(revision) in place of \(expected) at \(index)") }
      expected = revision + 1
    }
    return found.isEmpty ? "none, \(count) events" : found.prefix(5).joined(separator: ", ")
  }
}
