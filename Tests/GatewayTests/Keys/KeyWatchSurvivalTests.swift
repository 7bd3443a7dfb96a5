import TestSupport
import Testing

/// Clients that reconnect lose nothing and get nothing twice, whatever is restarted.
@Suite(.timeLimit(.minutes(15)))
struct KeyWatchSurvivalTests {
  @Test(arguments: EtcdVersion.allCases)
  func whoComesBackMissesNothing(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let port = try LoopbackPort.pick(1)[0]
      let (url, arguments) = ("http://127.0.0.1:\(port)", ["--shards", "1", "--listen", "127.0.0.1:\(port)"])
      let target = "/keys?prefix=w/&watch=true&since=1"
      let readers = WatchForm.allCases.map { ReturningReader(url, target, as: $0) }
      // Some disconnect in the middle of transactions.
      let restless = WatchForm.allCases.map { ReturningReader(url, target, as: $0) }
      let reading = Task {
        try await withThrowingTaskGroup(of: [String].self) { group in
          for reader in readers { group.addTask { try await reader.changes(upTo: "w/last").map(\.mark) } }
          for (seed, reader) in zip(UInt64(1)..., restless) {
            group.addTask { try await reader.changes(upTo: "w/last", patience: 12, seed: seed).map(\.mark) }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
      }
      defer { reading.cancel() }
      try await Transactions.write(to: etcd) { writer in
        for round in 0..<3 {
          try await withGateway([etcd.url], arguments) { _ in
            try await writer.awaitMore(30)
            if round == 1 {
              await etcd.kill()
              try await etcd.start()
            }
            try await writer.awaitMore(30)
          }
        }
      }
      try await withGateway([etcd.url], arguments) { gateway in
        let seen = try await reading.value
        let written = try await Transactions.written(gateway.url)
        for marks in seen { #expect(marks == written) }
        for reader in readers { #expect(await reader.returns >= 3) }
        for reader in restless { #expect(await reader.returns > 20) }
      }
    }
  }
}
