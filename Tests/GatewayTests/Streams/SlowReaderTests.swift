import TestSupport
import Testing

/// Readers that stop reading affect only themselves.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct SlowReaderTests {
  private static let value = String(repeating: "x", count: 500_000)

  @Test(arguments: EtcdVersion.allCases)
  func aReaderThatStopsHoldsBackNobody(_ version: EtcdVersion) async throws {
    // On a busy machine a hundred puts may take longer than a stalled client has.
    try await withEtcdAndGateway(version, gateway: ["--shards", "1", "--stall-timeout", "1h"]) { etcd, gateway in
      let slow = try await WatchReader.open(3) { _ in try await .open(gateway.url, receiveBuffer: 65536) }
      let fast = try await WatchReader.open(3) { _ in try await .open(gateway.url) }
      let memory = gateway.process.residentBytes
      var most = 0
      var last = 0
      for number in 0..<100 {
        last = try await etcd.put("a", Self.value)
        // Clients that read are up to date all the time.
        for reader in fast { #expect(try await reader.revisions(through: last) == [last], "put \(number)") }
        most = max(most, gateway.process.residentBytes)
      }
      #expect(most - memory < 24 << 20, "\(memory) bytes became \(most) for 50 MB of events")
      for reader in slow {
        await reader.stream.connection.setReceiveBuffer(bytes: 4 << 20)
        let revisions = try await reader.revisions(through: last)
        #expect(revisions == Array(reader.createdRevision + 1...last))
      }
      // All clients read again, so one watcher is enough again.
      try await etcd.awaitWatchers(1)
    }
  }

  @Test func aReaderThatIsStalledForTooLongIsCut() async throws {
    // After that it has as long again to take the rest.
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1", "--stall-timeout", "15s"]) { etcd, gateway in
      let stalled = try await WatchReader.open(gateway.url, receiveBuffer: 65536)
      // Of another user, who is identified by the password though etcd requires none here.
      let quiet = try await WatchReader.open(gateway.url, key: "b", user: "ann:annpw", receiveBuffer: 65536)
      for _ in 0..<20 { try await etcd.put("a", Self.value) }
      // A stream that is held back is kept; it is gone before the client reads again.
      _ = try await eventually("the end of the stalled stream") {
        try await etcd.watchStreams() == 1 ? true : nil
      }
      await stalled.stream.connection.setReceiveBuffer(bytes: 4 << 20)
      var messages: [JSON] = []
      while let message = try await stalled.stream.nextMessage() { messages.append(message) }
      let error = try #require(messages.last?["error"], "\(messages.count) messages and no error")
      #expect(error["grpc_code"] != nil && error["message"] != nil)
      #expect(messages.dropLast().allSatisfy { $0["result"] != nil } && messages.count < 20)
      // A client for which nothing waits has not stalled, however long it takes nothing.
      let last = try await etcd.put("b")
      #expect(try await quiet.revisions(through: last) == [last])
    }
  }

  /// Readers that stop reading keep no more than the budget: some of them are ended for that, and no other client
  /// notices.
  @Test(arguments: EtcdVersion.allCases)
  func readersThatStopEndForTheBudget(_ version: EtcdVersion) async throws {
    let arguments = ["--shards", "1", "--stall-timeout", "1h", "--max-memory", "1M"]
    try await withEtcdAndGateway(version, gateway: arguments) { etcd, gateway in
      // Each of another range, so that they share nothing.
      let stopped = try await WatchReader.open(12) { number in
        try await .open(gateway.url, ["range_end": .string("b\(number)".base64)], receiveBuffer: 65536)
      }
      let fast = try await WatchReader.open(3) { _ in try await .open(gateway.url) }
      let before = gateway.process.residentBytes
      var last = 0
      for number in 0..<300 {
        // Small enough to count as keeping up. The kernel takes the first 4 MiB of what a reader leaves unread.
        last = try await etcd.put("a", String(repeating: "x", count: 20_000))
        for reader in fast { #expect(try await reader.revisions(through: last) == [last], "put \(number)") }
      }
      #expect(gateway.process.residentBytes - before < 48 << 20)
      var (errors, cuts) = (0, 0)
      for reader in stopped {
        await reader.stream.connection.setReceiveBuffer(bytes: 4 << 20)
        var next = reader.createdRevision + 1
        do {
          while next <= last, let message = try await reader.stream.nextMessage() {
            if let error = message["error"] {
              #expect(error["message"]?.string?.contains("--max-memory") == true, "\(error)")
              errors += 1
              break
            }
            // Nothing is left out before the end.
            for event in message["result"]?["events"]?.array ?? [] {
              #expect(event["kv"]?["mod_revision"]?.string == "\(next)")
              next += 1
            }
          }
        } catch let failure as HTTPFailure where failure.isCut {
          cuts += 1
        }
      }
      // Clients that read again too late for the error find their connection cut.
      #expect(errors + cuts > 0)
      let still = try await etcd.put("a")
      for reader in fast { #expect(try await reader.revisions(through: still) == [still]) }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func eventsFlowBesideBigRanges(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      for number in 0..<40 { try await etcd.put("big/\(number)", Self.value) }
      let reader = try await WatchReader.open(gateway.url)
      try await withThrowingTaskGroup(of: Void.self) { group in
        let body: JSON = ["key": .string("big/".base64), "range_end": .string("big0".base64)]
        for _ in 0..<2 {
          group.addTask {
            while !Task.isCancelled {
              let response = try await gateway.http.post("/v3/kv/range", body)
              #expect(response.status == 200)
            }
          }
        }
        for _ in 0..<50 {
          let revision = try await etcd.put("a")
          #expect(try await reader.revisions(through: revision) == [revision])
        }
        group.cancelAll()
      }
    }
  }
}
