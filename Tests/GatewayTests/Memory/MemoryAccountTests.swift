import EventLoop
import Testing

@testable import Gateway

/// What is counted as kept for clients.
@Suite(.timeLimit(.minutes(1)))
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
    // But for what the first keeps at hand.
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

  @Test func theBudgetIsAQuarterOfWhatThereIs() {
    #expect(MachineMemory.budget(of: 2 << 30) == 512 << 20)
    #expect(MachineMemory.budget(of: 100 << 20) == 64 << 20)
    #expect(MachineMemory.budget(of: .max) == 1 << 30)
  }

  @Test func limitsOfControlGroupsAreFound() {
    func limits(_ groups: String, _ files: [String: String]) -> [Int] {
      MachineMemory.groupLimits(groups: groups) { files[$0] ?? "" }
    }
    // Version 2, and a container that sees its own group as the root.
    let unified = "0::/a/b\n"
    #expect(
      limits(unified, ["/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "1048576\n"])
        == [1 << 20])
    #expect(limits("0::/\n", ["/sys/fs/cgroup/memory.max": "2097152\n"]) == [2 << 20])
    // Version 1.
    let legacy = "12:cpu,cpuacct:/x\n5:memory:/x\n0::/x\n"
    #expect(limits(legacy, ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes": "4194304\n"]) == [4 << 20])
    #expect(limits("", [:]) == [] && limits("nonsense\n:\n", [:]) == [])
  }

  @Test func bytesOfAFlagMayHaveAUnit() {
    #expect(ByteCount(argument: "1048576")?.bytes == 1 << 20)
    #expect(ByteCount(argument: "64K")?.bytes == 64 << 10)
    #expect(ByteCount(argument: "512M")?.bytes == 512 << 20)
    #expect(ByteCount(argument: "2G")?.bytes == 2 << 30)
    for text in ["", "M", "-1", "1.5G", "99999999999999999999", "9999999999999G", "1T", " 1"] {
      #expect(ByteCount(argument: text) == nil, "\(text)")
    }
  }
}
