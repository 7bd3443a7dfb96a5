import Foundation
import Synchronization
import TestSupport

/// Clients that put keys as long as a test lasts, each on its own connection, and record what was acknowledged.
final class Writers: Sendable {
  private struct State {
    var acknowledged: [Int] = []
    var isOver = false
  }

  private let state = Mutex(State())

  /// Revisions of the puts that were acknowledged so far, in any order.
  var acknowledged: [Int] { state.withLock(\.acknowledged) }

  /// Runs `body` while `count` writers write. They have stopped when it returns.
  /// - Parameters:
  ///   - url: where they put; a failed put is repeated with another value.
  ///   - key: the key of a writer.
  ///   - pause: the pause of each writer after each put.
  static func run(
    _ count: Int, to url: String, user: String? = nil, pause: Duration = .milliseconds(5),
    key: @escaping @Sendable (Int) -> String = { _ in "a" }, body: (Writers) async throws -> Void
  ) async throws {
    let writers = Writers()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<count {
        group.addTask { try await writers.write(key(number), to: url, user, pause) }
      }
      defer { writers.state.withLock { $0.isOver = true } }
      try await body(writers)
    }
  }

  /// Waits for more acknowledged puts, so that a test acts in the middle of them.
  func awaitMore(_ count: Int) async throws {
    let before = acknowledged.count
    _ = try await eventually("\(count) more puts") {
      acknowledged.count >= before + count ? true : nil
    }
  }

  private func write(_ key: String, to url: String, _ user: String?, _ pause: Duration) async throws {
    var connection: HTTPConnection?
    var number = 0
    while !state.withLock(\.isOver) {
      number += 1
      let body: JSON = ["key": .string(key.base64), "value": .string("\(number)".base64)]
      do {
        let open = if let connection { connection } else { try await HTTPConnection.connect(to: url) }
        connection = open
        let response = try await open.post("/v3/kv/put", body, user: user)
        if response.status == 200, let revision = try response.json["header"]?["revision"]?.string.flatMap({ Int($0) })
        {
          state.withLock { $0.acknowledged.append(revision) }
        }
      } catch is HTTPFailure {
        connection = nil
      }
      try await Task.sleep(for: pause)
    }
  }
}
