import Synchronization
package import Testing

extension Trait where Self == PauseTrait {
  /// Repeats a test that has failed while the machine stood still for `limit` or longer.
  ///
  /// For tests of how the gateway treats a slow client or etcd, if the test itself is that client or etcd: if it was
  /// not run for seconds, its results say nothing. A test that fails without such a pause has failed.
  package static func repeatedAfterPauses(of limit: Duration) -> Self { PauseTrait(limit: limit) }
}

package struct PauseTrait: TestTrait, SuiteTrait, TestScoping {
  let limit: Duration
  package var isRecursive: Bool { true }

  /// How often a test is run with pauses before its failure counts all the same.
  private static let maxRuns = 5

  package func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(TestThreads.shared) { try await repeated(function) }
  }

  private func repeated(_ function: @Sendable () async throws -> Void) async throws {
    let watch = PauseWatch.shared
    for _ in 1..<Self.maxRuns {
      let start = ContinuousClock.now
      let hasFailed = Atomic(false)
      try await withKnownIssue("the machine stood still; the test is run again", isIntermittent: true) {
        try await function()
      } matching: { _ in
        guard watch.longestPause(since: start) >= limit else { return false }
        hasFailed.store(true, ordering: .relaxed)
        return true
      }
      if !hasFailed.load(ordering: .relaxed) { return }
    }
    try await function()
  }
}

/// Notices when the tasks of this process were not run.
private final class PauseWatch: Sendable {
  static let shared = PauseWatch()

  private static let interval = Duration.milliseconds(100)
  private static let minPause = Duration.milliseconds(500)

  private struct State {
    var lastTick = ContinuousClock.now
    /// The end and the length of each.
    var pauses: [(end: ContinuousClock.Instant, length: Duration)] = []
  }
  private let state = Mutex(State())

  private init() {
    Task.detached(executorPreference: TestThreads.shared) { [self] in
      while true {
        try await Task.sleep(for: Self.interval)
        state.withLock { state in
          let now = ContinuousClock.now
          let pause = now - state.lastTick - Self.interval
          if pause >= Self.minPause { state.pauses.append((now, pause)) }
          state.lastTick = now
        }
      }
    }
  }

  func longestPause(since start: ContinuousClock.Instant) -> Duration {
    state.withLock { state in
      let ended = state.pauses.filter { $0.end > start }.map(\.length)
      return (ended + [.now - state.lastTick]).max() ?? .zero
    }
  }
}
