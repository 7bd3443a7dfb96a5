import EventLoop

/// What can be asked for metrics.
protocol MetricSource: Sendable {
  /// Asks all parts of the process.
  ///
  /// - Parameter answer: called once for each, on whichever thread, with its number; unless it does not answer.
  /// - Returns: how many there are.
  func ask(_ answer: @escaping @Sendable (Int, MetricSamples) -> Void) -> Int
  /// Puts together what was answered, what was answered last by those that have not, and what is about the process.
  func put(_ answers: [MetricSamples?]) -> MetricSamples
}

/// Asks all parts of the process for metrics, one time after the other. Belongs to one loop.
final class MetricGathering {
  private let source: any MetricSource
  private let loop: EventLoop
  private let done: ([MetricSamples?]) -> Void
  private var answers: [MetricSamples?] = []
  /// Tells this time from earlier ones, whose answers may be late.
  private var round = 0
  private(set) var isUnderWay = false

  /// - Parameter done: gets what was answered, once all have, or with ``finish()``.
  init(_ source: any MetricSource, loop: EventLoop, done: @escaping ([MetricSamples?]) -> Void) {
    self.source = source
    self.loop = loop
    self.done = done
  }

  /// Asks. Nothing may be under way.
  func start() {
    isUnderWay = true
    round += 1
    let home = LoopBound(self, loop: loop)
    let count = source.ask { [round, remote = loop.remote] index, samples in
      remote.execute { home.value.take(samples, from: index, in: round) }
    }
    answers = Array(repeating: nil, count: count)
  }

  /// Goes without the answers that have not come.
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
