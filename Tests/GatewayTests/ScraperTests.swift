import EventLoop
import GrpcBridge
import Synchronization
import Testing

@testable import Gateway
@testable import HTTPServer

/// The cost of metrics, however many clients ask and however often.
@Suite(.timeLimit(.minutes(15)))
struct ScraperTests {
  /// One source, which answers at once.
  private final class Source: MetricSource {
    /// When it was asked, by `preciseTime`.
    let asked = Mutex<[UInt64]>([])
    /// How long a text takes, in nanoseconds.
    let cost: UInt64

    init(cost: UInt64 = 0) { self.cost = cost }

    func ask(_ answer: @escaping @Sendable (Int, MetricSamples) -> Void) -> Int {
      asked.withLock { $0.append(preciseTime) }
      answer(0, MetricSamples())
      return 1
    }

    func put(_ answers: [MetricSamples?]) -> MetricSamples {
      let end = preciseTime + cost
      while preciseTime < end {}
      return MetricSamples()
    }
  }

  private final class Replies {
    var bodies: [SharedBody] = []
    var shortages = 0
    private let loop: EventLoop
    private let expected: Int

    init(_ expected: Int, _ loop: EventLoop) {
      self.expected = expected
      self.loop = loop
    }

    func take(_ answer: Scraper.Answer) {
      switch answer {
      case .text(let body, _): bodies.append(body)
      case .shortage: shortages += 1
      case .closing: break
      }
      if bodies.count + shortages == expected { loop.stop() }
    }
  }

  /// - Parameter bytes: the budget for clients.
  /// - Returns: the answers to three clients that ask at once, and how many bytes are counted then.
  private func ask(_ source: Source, within bytes: Int = 1 << 20) throws -> (replies: Replies, memory: MemoryAccount) {
    let loop = try EventLoop()
    let memory = MemoryAccount(MemoryBudget(bytes: bytes), trimmer: MemoryTrimmer(loop: loop))
    let scraper = Scraper(source, memory: memory, loop: loop)
    let replies = Replies(3, loop)
    var isFirst = true
    loop.beforeWaiting { [unowned scraper, unowned replies] in
      guard isFirst else { return }
      isFirst = false
      for _ in 0..<3 { _ = scraper.ask { [unowned replies] in replies.take($0) } }
    }
    loop.run()
    return (replies, memory)
  }

  @Test func thoseWhoWaitShareOneText() throws {
    let source = Source()
    let (replies, memory) = try ask(source)
    // The first had a round of its own.
    #expect(source.asked.withLock { $0.count } == 2)
    #expect(replies.bodies.count == 3 && replies.bodies[1] === replies.bodies[2])
    let sizes = replies.bodies.map(\.bytes.count)
    #expect(sizes[0] > 1000 && memory.used == sizes[0] + sizes[1])
    replies.bodies.removeLast()
    #expect(memory.used == sizes[0] + sizes[1])
    replies.bodies.removeAll()
    #expect(memory.used == 0)
  }

  @Test func aTextForWhichThereIsNoRoomIsRefused() throws {
    let (replies, memory) = try ask(Source(), within: 1000)
    #expect(replies.shortages == 3 && memory.used == 0)
  }

  @Test func textsHaveATenthOfTheTime() throws {
    let source = Source(cost: 5_000_000)
    _ = try ask(source)
    let asked = source.asked.withLock { $0 }
    #expect(asked.count == 2 && asked[1] - asked[0] >= 49_000_000)
    #expect(Scraper.rest(after: 0) == 1)
    #expect(Scraper.rest(after: 23_000_000) == 231)
    #expect(Scraper.rest(after: .max) == 1000)
  }
}
