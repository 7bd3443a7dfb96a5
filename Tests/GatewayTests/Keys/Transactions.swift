import Foundation
import Synchronization
import TestSupport

/// A client that writes several keys at a time as long as a test lasts, directly to etcd.
final class Transactions: Sendable {
  private struct State {
    var count = 0
    var isOver = false
  }

  private let state = Mutex(State())

  /// Writes while `body` runs, and at last the key `w/last`.
  static func write(to etcd: EtcdProcess, body: (Transactions) async throws -> Void) async throws {
    let writer = Transactions()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await writer.write(to: etcd) }
      defer { writer.state.withLock { $0.isOver = true } }
      try await body(writer)
    }
    _ = try await eventually("last put") { try? await etcd.put("w/last") }
  }

  /// Waits for more of them.
  func awaitMore(_ count: Int) async throws {
    let before = state.withLock(\.count)
    _ = try await eventually("\(count) more transactions") {
      state.withLock(\.count) >= before + count ? true : nil
    }
  }

  private func write(to etcd: EtcdProcess) async throws {
    var number = 0
    while !state.withLock(\.isOver) {
      number += 1
      let puts: [JSON] = (0..<number % 5 + 1).map {
        ["request_put": ["key": .string("w/\($0)".base64), "value": .string("\(number)".base64)]]
      }
      // etcd may be down.
      if (try? await etcd.call("/v3/kv/txn", ["success": .array(puts)])) != nil { state.withLock { $0.count += 1 } }
      try await Task.sleep(for: .milliseconds(3))
    }
  }

  /// Everything that was ever written, in the form of `KeyNews.mark`, as etcd reports it afterwards.
  static func written(_ url: String) async throws -> [String] {
    let request: JSON = [
      "create_request": ["key": .string("w/".base64), "range_end": .string("w0".base64), "start_revision": "1"]
    ]
    let stream = try await JSONStream.open(url, "/v3/watch", request.description)
    var marks: [String] = []
    while marks.last?.hasPrefix("w/last@") != true, let result = try await stream.next() {
      for event in result["events"]?.array ?? [] {
        let keyValue = event["kv"]
        marks.append(
          "\(keyValue?["key"]?.string?.fromBase64 ?? "?")@\(keyValue?["mod_revision"]?.string ?? "?")")
      }
    }
    await stream.close()
    return marks
  }
}
