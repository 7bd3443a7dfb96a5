import ByteBuffers
import EventLoop
import GrpcBridge
import HTTPServer
import ProtobufWire

/// Gathers metrics for the requests of one shard. Belongs to its loop.
///
/// At most one gathering is under way, as each costs every shard something: clients that ask meanwhile share the next
/// one. The text is written once for all of them, or twice if only some accept gzip. The next gathering waits for a
/// time that grows with that cost.
final class Scraper {
  enum Answer {
    /// The text that Prometheus reads, compressed or not.
    case text(SharedBody, isPacked: Bool)
    /// There is no room for the text (`--max-memory`).
    case shortage
    /// The shard is being closed.
    case closing
  }

  /// How long shards have to answer, in milliseconds: a shard that hangs is reported with its last numbers.
  private static let patience: UInt64 = 1000
  /// Texts take at most one part in so many of the loop's time, however often clients ask.
  private static let share: UInt64 = 10
  /// How long clients wait at most because of that, in milliseconds.
  private static let longestRest: UInt64 = 1000

  typealias Reply = (Answer) -> Void

  private struct Asker {
    let token: Int
    let takesGzip: Bool
    let reply: Reply
  }

  private let telemetry: any MetricSource
  private let memory: MemoryAccount
  private let loop: EventLoop
  private var current: [Asker] = []
  private var next: [Asker] = []
  private var lastToken = 0
  private var isClosed = false
  private lazy var gathering = MetricGathering(telemetry, loop: loop) { [weak self] in self?.answer(with: $0) }
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in gathering.finish() }
  /// While it is active, no gathering begins.
  private lazy var rest = LoopTimer(loop: loop) { [unowned self] in startIfAsked() }

  init(_ telemetry: any MetricSource, memory: MemoryAccount, loop: EventLoop) {
    self.telemetry = telemetry
    self.memory = memory
    self.loop = loop
  }

  /// Gathers metrics.
  ///
  /// - Parameters:
  ///   - takesGzip: whether the text may be compressed.
  ///   - reply: called once, unless forgotten: later, or, if the shard is being closed, at once.
  /// - Returns: a token by which the reply can be forgotten.
  func ask(takesGzip: Bool = false, _ reply: @escaping Reply) -> Int {
    lastToken += 1
    guard !isClosed else {
      reply(.closing)
      return lastToken
    }
    next.append(Asker(token: lastToken, takesGzip: takesGzip, reply: reply))
    startIfAsked()
    return lastToken
  }

  func forget(_ token: Int) {
    current.removeAll { $0.token == token }
    next.removeAll { $0.token == token }
  }

  /// Answers all with ``Answer/closing``.
  func close() {
    isClosed = true
    timer.stop()
    rest.stop()
    let all = current + next
    (current, next) = ([], [])
    for asker in all { asker.reply(.closing) }
  }

  private func startIfAsked() {
    guard !next.isEmpty, !gathering.isUnderWay, !isClosed, !rest.isActive else { return }
    (current, next) = (next, [])
    gathering.start()
    timer.start(after: Self.patience)
  }

  private func answer(with answers: [MetricSamples?]) {
    timer.stop()
    let all = current
    current = []
    if !all.isEmpty {
      let start = preciseTime
      let text = telemetry.put(answers).text()
      var texts: [Bool: Answer] = [:]
      for packs in Set(all.map(\.takesGzip)) { texts[packs] = answer(text, packs: packs) }
      // By the loop's clock, which has stood still meanwhile.
      rest.start(after: Self.rest(after: preciseTime &- start))
      for asker in all { asker.reply(texts[asker.takesGzip] ?? .shortage) }
    }
    startIfAsked()
  }

  private func answer(_ text: String, packs: Bool) -> Answer {
    var bytes = ByteBuffer(capacity: text.utf8.count)
    bytes.append(text.utf8)
    if packs, let packed = bytes.withUnsafeBytes({ Gzip.packed($0, .least) }) {
      return SharedBody(packed, in: memory).map { .text($0, isPacked: true) } ?? .shortage
    }
    return SharedBody(bytes, in: memory).map { .text($0, isPacked: false) } ?? .shortage
  }

  /// How long no gathering begins, in milliseconds.
  ///
  /// - Parameter cost: how long the last text has taken, in nanoseconds.
  static func rest(after cost: UInt64) -> UInt64 { min(cost / (1_000_000 / share) + 1, longestRest) }
}
