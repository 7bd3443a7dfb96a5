import TestSupport
import Testing

/// Clients that disconnect leave nothing behind.
@Suite(.timeLimit(.minutes(15)))
struct WatchLeavingTests {
  enum Farewell: CaseIterable {
    case fin
    case reset
  }

  /// The watcher of a client that has left an idle watch is gone at etcd.
  @Test(arguments: EtcdVersion.allCases, Farewell.allCases)
  func anIdleWatchEndsWithItsClient(_ version: EtcdVersion, _ farewell: Farewell) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      let staying = try await WatchReader.open(gateway.url)
      let leaving = try await WatchReader.open(gateway.url, key: "b")
      try await etcd.awaitWatchers(2)
      switch farewell {
      case .fin: await leaving.stream.close()
      case .reset: await leaving.stream.reset()
      }
      try await etcd.awaitWatchers(1)
      let last = try await etcd.put("a")
      #expect(try await staying.revisions(through: last) == [last])
    }
  }

  @Test(arguments: EtcdVersion.allCases, ["/v3/election/observe", "/v3/watch", "/v3/maintenance/snapshot"])
  func aStreamEndsWithItsClient(_ version: EtcdVersion, _ path: String) async throws {
    let methods = ["/v3/election/observe": "Observe", "/v3/watch": "Watch", "/v3/maintenance/snapshot": "Snapshot"]
    let bodies = ["/v3/election/observe": #"{"name":"eA=="}"#, "/v3/watch": #"{"create_request":{"key":"YQ=="}}"#]
    let method = try #require(methods[path])
    try await withEtcdAndGateway(version) { etcd, gateway in
      for _ in 0..<64 where path.hasSuffix("snapshot") {
        try await etcd.put("big", String(repeating: "x", count: 1 << 20))
      }
      let stream = try await JSONStream.open(gateway.url, path, bodies[path] ?? "{}", receiveBuffer: 8192)
      _ = try await eventually("stream at etcd") { try await etcd.callsUnderWay(of: method) == 1 ? true : nil }
      await stream.close()
      _ = try await eventually("end of the stream at etcd") {
        try await etcd.callsUnderWay(of: method) == 0 ? true : nil
      }
    }
  }

  @Test(.needsNetworkNamespaces, arguments: EtcdVersion.allCases)
  func abandonedWatchesLeaveNothingBehind(_ version: EtcdVersion) async throws {
    let network = try await NetworkNamespace()
    let arguments = shardArguments + ["--listen", "\(network.hostAddress):0"]
    try await withEtcdAndGateway(version, gateway: arguments) { etcd, gateway in
      // Opens the connections that a gateway keeps to etcd, and what its libraries open once.
      _ = try await gateway.get()
      let warm = try await WatchReader.open(50) { _ in try await .open(gateway.url, key: "warm") }
      for reader in warm { await reader.stream.close() }
      try await etcd.awaitWatchers(0)
      let holding = try await gateway.process.settledHolding()

      let url = gateway.url
      let abandoned = try await WatchReader.open(1000) { number in
        // Some have a watcher of their own, some share one; two hundred are in the network that is cut off.
        let key = number % 4 == 0 ? "key \(number)" : "shared"
        return try await .open(url, key: key, in: number < 200 ? network : nil)
      }
      #expect(try await etcd.watchers() >= 251)
      try await network.drop()
      for (number, reader) in abandoned.enumerated() {
        if number % 2 == 0 { await reader.stream.close() } else { await reader.stream.reset() }
      }
      // TCP keepalive notices peers that have vanished without a word, after 30 s at the most.
      try await etcd.awaitWatchers(0)
      try await gateway.process.awaitReturn(to: holding)
      // The streams may stay for the next watch, one for each shard at most, or end.
      _ = try await eventually("a stream for each shard at most") {
        try await etcd.callsUnderWay(of: "Watch") <= shards ? true : nil
      }
    }
  }
}
