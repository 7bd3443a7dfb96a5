import EventLoop
import GrpcBridge
import Synchronization
import TLS

/// What can be asked for metrics: all shards and the authenticator, each on its own thread. For all shards.
final class Telemetry: MetricSource {
  private struct State {
    var shards: [LoopBound<Shard>] = []
    /// What each source told last.
    var last: [MetricSamples?] = []
  }

  private let state = Mutex(State())
  private let authenticator: Authenticator
  private let tls: RenewableTLSContext?
  private let memoryLimit: Int
  private let reloads = Atomic<UInt64>(0)

  init(authenticator: Authenticator, tls: RenewableTLSContext?, memoryLimit: Int) {
    self.authenticator = authenticator
    self.tls = tls
    self.memoryLimit = memoryLimit
  }

  /// The shards there are; none once they have ended.
  var shards: [LoopBound<Shard>] {
    get { state.withLock { $0.shards } }
    set { state.withLock { $0.shards = newValue } }
  }

  /// The gateway was told to read its files again.
  func hasReloaded() { reloads.wrappingAdd(1, ordering: .relaxed) }

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
    let known = state.withLock { state in
      if state.last.count != answers.count { state.last = Array(repeating: nil, count: answers.count) }
      for (index, answer) in answers.enumerated() where answer != nil { state.last[index] = answer }
      return state.last
    }
    var all = MetricSamples()
    for (index, samples) in known.enumerated() {
      if let samples { all.add(samples) }
      // The last one is the authenticator.
      if index < answers.count - 1 { all.add(.shardUp, ["shard": "\(index)"], answers[index] == nil ? 0 : 1) }
    }
    all.add(.memoryLimit, memoryLimit)
    all.add(.reloads, reloads.load(ordering: .relaxed))
    all.add(.droppedLogLines, LogWriter.standardError.droppedCount)
    if let end = tls?.expiry { all.add(.tlsExpiry, end) }
    all.add(
      .buildInfo, ["version": EtcdRest.version, "libmicrohttpd": HTTPLibrary.loaded.version], 1)
    ProcessStatistics.add(to: &all)
    return all
  }
}
