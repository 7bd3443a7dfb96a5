import Foundation
import Synchronization
import TestSupport

/// Clients that write and read as long as a test lasts, each on its own connection, and record the results.
final class ClusterLoad: Sendable {
  /// The results of the calls of one kind.
  struct Figures: Sendable, CustomStringConvertible {
    var count = 0
    var errors: [String: Int] = [:]
    var longest = Duration.zero

    var description: String {
      let longest = longest.formatted(.units(allowed: [.milliseconds], width: .narrow))
      return "\(count) calls, longest \(longest), errors \(errors)"
    }
  }

  enum Kind: CaseIterable { case read, write }

  private struct State {
    var figures: [Kind: Figures] = [:]
    /// The keys that were put, each once; whether that was acknowledged.
    var writes: [String: Bool] = [:]
    var isOver = false
  }

  private let state = Mutex(State())

  /// The keys that were put, each once, and whether that was acknowledged.
  var writes: [String: Bool] { state.withLock(\.writes) }

  /// Runs `body` under the load of `count` writers and as many readers. They have stopped when it returns.
  static func run(
    _ count: Int, to url: String, user: String? = nil, body: (ClusterLoad) async throws -> Void
  ) async throws -> ClusterLoad {
    let load = ClusterLoad()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<count {
        group.addTask { try await load.repeatCalls(.write, by: number, to: url, user) }
        group.addTask { try await load.repeatCalls(.read, by: number, to: url, user) }
      }
      defer { load.state.withLock { $0.isOver = true } }
      try await body(load)
    }
    return load
  }

  /// The results of the calls that have ended since this was last called.
  func takeFigures() -> [Kind: Figures] {
    state.withLock { state in
      defer { state.figures = [:] }
      return state.figures
    }
  }

  /// Waits for more successful calls of both kinds.
  func awaitMore(_ count: Int) async throws {
    func successes() -> [Int] {
      state.withLock { state in
        Kind.allCases.map { kind in
          let figures = state.figures[kind] ?? Figures()
          return figures.count - figures.errors.values.reduce(0, +)
        }
      }
    }
    let before = successes()
    _ = try await eventually("\(count) more calls of each kind") {
      zip(before, successes()).allSatisfy { $0 + count <= $1 } ? true : nil
    }
  }

  private func repeatCalls(_ kind: Kind, by number: Int, to url: String, _ user: String?) async throws {
    var connection: HTTPConnection?
    var count = 0
    while !state.withLock(\.isOver) {
      count += 1
      let key = "w/\(number)/\(count)"
      if kind == .write { state.withLock { $0.writes[key] = false } }
      let start = ContinuousClock.now
      var error: String?
      do {
        let open = if let connection { connection } else { try await HTTPConnection.connect(to: url) }
        connection = open
        let response =
          switch kind {
          case .read: try await open.post("/v3/kv/range", ["key": .string("r".base64)], user: user)
          case .write:
            try await open.post(
              "/v3/kv/put", ["key": .string(key.base64), "value": .string(key.base64)], user: user)
          }
        if response.status != 200 { error = (try? response.json["message"]?.string) ?? response.text }
      } catch let failure as HTTPFailure {
        error = "\(failure)"
        connection = nil
      }
      let time = ContinuousClock.now - start
      state.withLock { [error] in
        if kind == .write && error == nil { $0.writes[key] = true }
        $0.figures[kind, default: Figures()].count += 1
        if let error { $0.figures[kind, default: Figures()].errors[error, default: 0] += 1 }
        $0.figures[kind]!.longest = max($0.figures[kind]!.longest, time)
      }
      try await Task.sleep(for: .milliseconds(15))
    }
  }
}
