import EventLoop
import Glibc
import GrpcBridge
import HTTPServer
import Synchronization
import TLS

/// The metrics of all shards and of the authenticator, each on its own thread. For all shards.
final class Telemetry: MetricSource {
  private struct State {
    var shards: [LoopBound<Shard>] = []
    /// The last answer of each source.
    var last: [MetricSamples?] = []
    /// How often the settings were read again, with and without success.
    var reloads = (good: UInt64(0), bad: UInt64(0))
    /// Whether the last reload succeeded, and when the last successful one was, in Unix time.
    var lastReload = (isGood: true, good: time(nil))
  }

  private let state = Mutex(State())
  private let authenticator: Authenticator
  private let tls: RenewableTLSContext?
  private let memoryLimit: Int
  private let spans: SpanQueue?
  /// The numbers of the last minutes.
  let history = StatusHistory()

  /// - Parameter spans: the queue for the spans of all shards; nil if there are none.
  init(authenticator: Authenticator, tls: RenewableTLSContext?, memoryLimit: Int, spans: SpanQueue?) {
    self.spans = spans
    self.authenticator = authenticator
    self.tls = tls
    self.memoryLimit = memoryLimit
  }

  /// The shards; none once they have ended.
  var shards: [LoopBound<Shard>] {
    get { state.withLock { $0.shards } }
    set { state.withLock { $0.shards = newValue } }
  }

  /// The gateway has read its settings again.
  ///
  /// - Parameter well: whether it has applied them.
  func hasReloaded(well: Bool) {
    state.withLock { state in
      state.lastReload.isGood = well
      if well {
        state.reloads.good &+= 1
        state.lastReload.good = time(nil)
      } else {
        state.reloads.bad &+= 1
      }
    }
  }

  func ask(_ answer: @escaping @Sendable (Int, MetricSamples) -> Void) -> Int {
    let shards = shards
    for (index, shard) in shards.enumerated() {
      let asked = preciseTime
      shard.remote.execute {
        let samples = shard.value.samples(number: index, lag: preciseTime &- asked)
        answer(index, samples)
      }
    }
    authenticator.sample { answer(shards.count, MetricSamples($0)) }
    return shards.count + 1
  }

  func put(_ answers: [MetricSamples?]) -> MetricSamples {
    let (known, reloads, lastReload) = state.withLock { state in
      if state.last.count != answers.count { state.last = Array(repeating: nil, count: answers.count) }
      for (index, answer) in answers.enumerated() where answer != nil { state.last[index] = answer }
      return (state.last, state.reloads, state.lastReload)
    }
    var all = MetricSamples()
    for (index, samples) in known.enumerated() {
      if let samples { all.add(samples) }
      // The last answer is the authenticator's.
      if index < answers.count - 1 { all.add(.shardUp, ["shard": "\(index)"], answers[index] == nil ? 0 : 1) }
    }
    all.add(.memoryLimit, memoryLimit)
    all.add(.reloads, ["result": "success"], reloads.good)
    all.add(.reloads, ["result": "failure"], reloads.bad)
    all.add(.lastReloadSuccessful, lastReload.isGood ? 1 : 0)
    all.add(.lastReloadTime, lastReload.good)
    all.add(.droppedLogLines, LogWriter.standardError.droppedCount)
    if let counts = spans?.counts { all.add(counts) }
    if let end = tls?.expiry { all.add(.tlsExpiry, end) }
    all.add(
      .buildInfo,
      [
        "version": EtcdRest.version, "commit": EtcdRest.commit ?? "", "libmicrohttpd": HTTPLibrary.loaded.version,
      ], 1)
    ProcessStatistics.add(to: &all)
    return all
  }
}
