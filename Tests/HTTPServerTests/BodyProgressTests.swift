import Testing

@testable import HTTPServer

/// How much of a body may come, and how slowly.
@Suite struct BodyProgressTests {
  private static func progress(limit: Int = 100, of pieces: [Int] = []) -> BodyProgress {
    var progress = BodyProgress(BodyLimit(bytes: limit, flag: "--max-request-bytes"), from: 0)
    for piece in pieces { progress.add(piece) }
    return progress
  }

  @Test func aBodyMayBeAsLargeAsItsLimit() {
    #expect(!Self.progress(of: [60, 40]).isTooLarge)
    #expect(Self.progress(of: [60, 41]).isTooLarge)
    #expect(!Self.progress(limit: .max, of: [.max]).isTooLarge)
  }

  @Test func onlyWhatIsBeyondTheRoomOfAConnectionIsCounted() {
    let room = MemoryAccount.uncounted
    #expect(Self.progress(of: [room]).counted(ofLast: room) == 0)
    #expect(Self.progress(of: [room - 1, 3]).counted(ofLast: 3) == 2)
    #expect(Self.progress(of: [room + 7, 3]).counted(ofLast: 3) == 3)
  }

  @Test func aBurstBuysNoTime() {
    let span = RequestClock.Limits.rateSpan
    var limits = RequestClock.Limits()
    limits.bodyRate = 1000
    let least = Int(span)
    var progress = Self.progress(of: [least * 10])
    var isTooSlow = [progress.isTooSlow(at: span - 1, limits), progress.isTooSlow(at: span, limits)]
    progress.add(least - 1)
    isTooSlow += [progress.isTooSlow(at: 2 * span - 1, limits), progress.isTooSlow(at: 2 * span, limits)]
    progress.add(1)
    isTooSlow.append(progress.isTooSlow(at: 2 * span, limits))
    #expect(isTooSlow == [false, false, false, true, false])
  }

  @Test func theClientIsNotToBlameForItsWait() {
    let span = RequestClock.Limits.rateSpan
    var limits = RequestClock.Limits()
    limits.bodyRate = 1
    var progress = Self.progress()
    progress.measureRate(from: 5 * span)
    var isTooSlow = [progress.isTooSlow(at: 6 * span - 1, limits), progress.isTooSlow(at: 6 * span, limits)]
    limits.bodyRate = 0
    isTooSlow.append(progress.isTooSlow(at: 60 * span, limits))
    #expect(isTooSlow == [false, true, false])
  }
}
