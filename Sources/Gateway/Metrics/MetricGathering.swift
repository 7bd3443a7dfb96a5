import EventLoop

/// A source of metrics.
protocol MetricSource: Sendable {
  /// Asks all parts of the process.
  ///
  /// - Parameter answer: called once by each part that answers, on any thread, with its number.
  /// - Returns: how many parts there are.
  func ask(_ answer: @escaping @Sendable (Int, MetricSamples) -> Void) -> Int
  /// Adds up the answers, the last answers of parts that have not answered, and the metrics of the process.
  func put(_ answers: [MetricSamples?]) -> MetricSamples
}

/// Asks all parts of the process for metrics, one round after the other. Belongs to one loop.
final class MetricGathering {
  private let source: any MetricSource
  private let loop: EventLoop
  private let done: ([MetricSamples?]) -> Void
  private var answers: [MetricSamples?] = []
  /// Distinguishes this round from earlier ones, whose answers may be late.
  private var round = 0
  private(set) var isUnderWay = false

  /// - Parameter done: gets the answers once all have come, or after ``finish()``.
  init(_ source: any MetricSource, loop: EventLoop, done: @escaping ([MetricSamples?]) -> Void) {
    self.source = source
    self.loop = loop
    self.done = done
  }

  /// Begins a round. No other round may be under way.
  func start() {
    isUnderWay = true
    round += 1
    let home = LoopBound(self, loop: loop)
    let count = source.ask { [round, remote = loop.remote] index, samples in
      remote.execute { home.value.take(samples, from: index, in: round) }
    }
    answers = Array(repeating: nil, count: count)
  }

  /// Ends the round without the answers that have not come.
  func finish() {
    guard isUnderWay else { return }
    isUnderWay = false
    let all = answers
    answers = []
    done(all)
  }

  private func take(_ samples: MetricSamples, from index: Int, in round: Int) {
    guard isUnderWay, round == self.round, index < answers.count else { return }
    answers[index] = samples
    if answers.allSatisfy({ $0 != nil }) { finish() }
  }
}
