import Foundation
import Synchronization

/// What the peer's thread and the tests share: the record, the waiters, and the commands.
final class ScriptedPeerState: Sendable {
  enum Command: Sendable {
    case goAway(connection: Int?, lastStream: Int32, code: UInt32)
    case close(connection: Int?, abruptly: Bool)
    case listen(Bool)
    case limitStreams(UInt32)
    case resume(connection: Int, stream: Int32)
    case stop
  }

  fileprivate struct Waiter: Sendable {
    let what: String
    let deadline: ContinuousClock.Instant
    let condition: @Sendable (ScriptedPeer.Record) -> Bool
    let continuation: CheckedContinuation<ScriptedPeer.Record, any Error>
  }

  private struct State {
    var record = ScriptedPeer.Record()
    var waiters: [Waiter] = []
    var commands: [Command] = []
    var stopped = false
  }

  private let state = Mutex(State())
  /// Called when there is a command or a new waiter.
  private let wake: @Sendable () -> Void

  init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

  var record: ScriptedPeer.Record { state.withLock { $0.record } }

  func update<Result: Sendable>(_ body: (inout ScriptedPeer.Record) -> Result) -> Result {
    state.withLock { body(&$0.record) }
  }

  func post(_ command: Command) {
    state.withLock { $0.commands.append(command) }
    wake()
  }

  func takeCommands() -> [Command] {
    state.withLock { state in
      defer { state.commands = [] }
      return state.commands
    }
  }

  func wait(
    for what: String, within limit: Duration, until condition: @escaping @Sendable (ScriptedPeer.Record) -> Bool
  ) async throws -> ScriptedPeer.Record {
    let deadline = ContinuousClock.now + limit
    return try await withCheckedThrowingContinuation { continuation in
      let waiter = Waiter(what: what, deadline: deadline, condition: condition, continuation: continuation)
      let stopped = state.withLock { state in
        if !state.stopped { state.waiters.append(waiter) }
        return state.stopped
      }
      if stopped {
        waiter.settle(with: record, now: deadline)
      } else {
        wake()
      }
    }
  }

  /// Resumes every waiter whose condition is met or whose time is up.
  /// - Returns: the next deadline.
  func settleWaiters() -> ContinuousClock.Instant? {
    let now = ContinuousClock.now
    return state.withLock { state in
      let record = state.record
      state.waiters.removeAll { $0.settle(with: record, now: now) }
      return state.waiters.lazy.map(\.deadline).min()
    }
  }

  /// Ends all waiting, for good.
  func stop() {
    let (waiters, record) = state.withLock { state in
      defer { state.waiters = [] }
      state.stopped = true
      return (state.waiters, state.record)
    }
    for waiter in waiters { waiter.settle(with: record, now: waiter.deadline) }
  }
}

extension ScriptedPeerState.Waiter {
  /// - Returns: whether the waiter has been resumed.
  @discardableResult
  fileprivate func settle(with record: ScriptedPeer.Record, now: ContinuousClock.Instant) -> Bool {
    if condition(record) {
      continuation.resume(returning: record)
    } else if now >= deadline {
      continuation.resume(throwing: ScriptedPeer.Timeout(description: "in vain: \(what); \(record.summary)"))
    } else {
      return false
    }
    return true
  }
}

extension ScriptedPeer.Record {
  /// One line a connection, for the message of a failed wait.
  fileprivate var summary: String {
    connections.indices.map { index in
      let paths = streams(on: index).map { "\($0.path)\($0.reset.map { " reset \($0.code)" } ?? "")" }
      let shown = paths.count > 20 ? paths.prefix(20) + ["… \(paths.count) in all"] : paths[...]
      let open = streams(on: index).count { $0.closed == nil }
      return "connection \(index)\(connections[index].closed == nil ? "" : " (closed)"), \(open) open: "
        + shown.joined(separator: ", ")
    }.joined(separator: "; ")
  }
}
