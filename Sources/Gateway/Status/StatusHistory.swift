import EventLoop
import GrpcBridge
import Synchronization

/// The counters of the process at moments of the last minutes, for the status page. For all threads.
final class StatusHistory: Sendable {
  /// How often they are sampled, in milliseconds.
  static let interval: UInt64 = 10_000
  /// How many moments are kept: ten minutes, and the moment at their beginning.
  private static let length = 61

  /// The numbers at one moment; counters are counted from the start of the process.
  struct Moment: Sendable {
    /// In nanoseconds of a clock that only goes forward.
    let time: UInt64
    var durations = Durations(Array(repeating: 0, count: Durations.width)[...])
    /// Answers with a status from 500 on.
    var errors = 0.0
    /// Logins that etcd has granted.
    var logins = 0.0
    var connections = 0.0
    var streams = 0.0
    var watches = 0.0
    var tokens = 0.0
  }

  private let kept = Mutex<[Moment]>([])

  /// From the oldest to the newest.
  var moments: [Moment] { kept.withLock { $0 } }

  func append(_ moment: Moment) {
    kept.withLock { moments in
      if moments.count >= Self.length { moments.removeFirst() }
      moments.append(moment)
    }
  }
}

extension StatusHistory.Moment {
  /// Makes a moment from metrics.
  init(_ samples: MetricSamples, at time: UInt64) {
    self.init(time: time)
    samples.forEachHistogram(of: .requestDuration) { durations.add($0) }
    errors = samples.sum(of: .requests) { $0.hasPrefix("status=\"5") }
    logins = samples.sum(of: .logins) { $0 == "result=\"granted\"" }
    connections = samples.sum(of: .connections)
    streams = samples.sum(of: .streams)
    watches = samples.sum(of: .watches)
    tokens = samples.sum(of: .tokens)
  }
}

/// Samples the counters of all shards every ten seconds. Belongs to one loop.
///
/// Nothing is counted for this alone: it uses what the metrics have anyway.
final class StatusSampler {
  private let gathering: MetricGathering
  private let timer: LoopTimer

  init(_ source: any MetricSource, history: StatusHistory, loop: EventLoop) {
    let gathering = MetricGathering(source, loop: loop) { answers in
      history.append(StatusHistory.Moment(source.put(answers), at: preciseTime))
    }
    self.gathering = gathering
    timer = LoopTimer(loop: loop) {
      // A shard that has not answered for so long hangs: its last numbers are used.
      gathering.finish()
      gathering.start()
    }
    timer.start(after: 0, every: StatusHistory.interval)
  }

  func stop() { timer.stop() }
}
