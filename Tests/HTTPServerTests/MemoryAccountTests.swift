import EventLoop
import Testing

@testable import HTTPServer

/// What is counted as kept for clients.
@Suite(.timeLimit(.minutes(15)))
struct MemoryAccountTests {
  @Test func shardsShareOneBudget() throws {
    let loop = try EventLoop()
    let budget = MemoryBudget(bytes: 1 << 20)
    let trimmer = MemoryTrimmer(loop: loop)
    let first = MemoryAccount(budget, trimmer: trimmer)
    let second = MemoryAccount(budget, trimmer: trimmer)
    var all = KeptBytes(first)
    var more = KeptBytes(second)
    let takesAll = all.grow(by: 1 << 20)
    let takesMore = more.grow(by: 1)
    #expect(takesAll && !takesMore && more.count == 0 && !second.hasRoom(for: 1))
    let givesBack = all.set(to: 100)
    // Except for what the first one keeps in reserve.
    let takesRest = more.grow(by: 800_000)
    #expect(givesBack && takesRest && !first.hasRoom(for: 800_000))
    more.release()
    let takesAgain = all.grow(by: 900_000)
    #expect(takesAgain && all.count == 900_100)
  }

  @Test func whatIsForcedIsCounted() throws {
    let account = try MemoryAccount(bytes: 1 << 20)
    var forced = KeptBytes(account)
    var other = KeptBytes(account)
    forced.force(3 << 20)
    let takesMore = other.grow(by: 1)
    #expect(account.isOverdrawn && account.used == 3 << 20 && !takesMore)
    forced.release()
    #expect(!account.isOverdrawn && account.used == 0)
    let takesThen = other.grow(by: 900_000)
    #expect(takesThen)
  }

  @Test func whatGoesIsGivenBack() throws {
    let account = try MemoryAccount(bytes: 1 << 20)
    do {
      var kept = KeptBytes(account)
      let takes = kept.grow(by: 1 << 20)
      #expect(takes)
    }
    #expect(account.used == 0 && account.hasRoom(for: 1 << 20))
  }

  @Test func aQuarterOfTheHighestLevelIsLow() {
    var water = MemoryTrimmer.HighWater(least: 100)
    water.rise(to: 99)
    var falls = [water.fall(to: 0)]
    water.rise(to: 200)
    falls += [water.fall(to: 51), water.fall(to: 50), water.fall(to: 0)]
    #expect(falls == [false, false, true, false])
  }

  /// However often clients come and go.
  @Test func memoryIsGivenBackNowAndThen() {
    #expect(MemoryTrimmer.wait(at: 1000, last: nil) == 200)
    #expect(MemoryTrimmer.wait(at: 1000, last: 1000) == 5000)
    #expect(MemoryTrimmer.wait(at: 5900, last: 1000) == 200)
    #expect(MemoryTrimmer.wait(at: 90_000, last: 1000) == 200)
  }
}
