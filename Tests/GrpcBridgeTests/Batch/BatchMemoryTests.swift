import Testing

@testable import GrpcBridge

/// What is remembered of reads and of their users.
@Suite struct BatchMemoryTests {
  @Test func largeReadsAreRememberedUntilTheyAreSmall() {
    var reads = LargeReads()
    #expect(!reads.contains(7))
    reads.insert(7)
    reads.insert(8)
    #expect(reads.contains(7) && reads.contains(8) && !reads.contains(9))
    reads.remove(7)
    #expect(!reads.contains(7) && reads.contains(8))
    for hash in 0..<5000 as Range<UInt> { reads.insert(hash) }
    #expect((0..<5000 as Range<UInt>).filter { reads.contains($0) }.count == 1024)
  }

  @Test func whoseBatchesFailOftenIsLeftAloneForAWhile() {
    var failing = FailingBatches()
    let ann = Token("ann".utf8)
    for _ in 0..<100 {
      failing.failed(ann, at: 0)
      for _ in 0..<8 { failing.succeeded(ann) }
    }
    #expect(!failing.contains(ann, at: 0))
    for _ in 0..<4 { failing.failed(ann, at: 5) }
    #expect(failing.contains(ann, at: 5) && failing.contains(Token("ann".utf8), at: 10_004))
    #expect(!failing.contains(nil, at: 5) && !failing.contains(Token("bob".utf8), at: 5))
    #expect(!failing.contains(ann, at: 10_005))
    // Then fewer failures are enough.
    failing.failed(ann, at: 20_000)
    failing.failed(ann, at: 20_000)
    #expect(failing.contains(ann, at: 20_000))
    for number in 0..<5000 { failing.failed(Token("\(number)".utf8), at: 0) }
  }
}
