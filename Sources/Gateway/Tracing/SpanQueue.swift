import DequeModule
import EventLoop
import Synchronization

/// The spans that wait to be exported. For all threads.
///
/// The lock is held only while a batch of spans is copied. Spans that do not fit are dropped and counted.
final class SpanQueue: Sendable {
  /// How many spans are exported at once, at most (OpenTelemetry's own default of `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`).
  static let batch = 512

  /// Counts the outcomes of spans, and the attempts to export them.
  struct Counts: Sendable, Equatable {
    var exported: UInt64 = 0
    /// Spans dropped because too many were waiting.
    var overflowed: UInt64 = 0
    /// Spans dropped because the collector, too often, could not be reached or did not take them.
    var unsent: UInt64 = 0
    /// Spans that the collector has rejected.
    var rejected: UInt64 = 0
    var doneExports: UInt64 = 0
    var failedExports: UInt64 = 0
  }

  private struct State {
    var spans = Deque<Span>()
    var counts = Counts()
    var waking: (@Sendable () -> Void)?
    /// Whether the callback was called, and nothing was taken since.
    var hasWoken = false
  }

  private let state = Mutex(State())
  private let capacity: Int

  /// - Parameter capacity: how many spans may wait.
  init(capacity: Int) { self.capacity = capacity }

  /// Has `body` called, on any thread, as soon as there are enough spans for an export.
  func whenFull(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.waking = body } }

  func append(_ spans: [Span]) {
    let wake = state.withLock { state -> (@Sendable () -> Void)? in
      let room = max(0, capacity - state.spans.count)
      state.spans.append(contentsOf: spans.prefix(room))
      state.counts.overflowed &+= UInt64(spans.count - min(room, spans.count))
      guard state.spans.count >= min(Self.batch, capacity), !state.hasWoken else { return nil }
      state.hasWoken = true
      return state.waking
    }
    wake?()
  }

  /// Takes out the oldest spans, as many as one export has.
  func take() -> [Span] {
    state.withLock { state in
      state.hasWoken = false
      let first = Array(state.spans.prefix(Self.batch))
      state.spans.removeFirst(first.count)
      return first
    }
  }

  /// Whether there are enough spans for an export.
  var isFull: Bool { state.withLock { $0.spans.count >= min(Self.batch, capacity) } }

  var counts: Counts { state.withLock { $0.counts } }

  func count(_ body: (inout Counts) -> Void) { state.withLock { body(&$0.counts) } }
}
