/// How much of a request's body has come, how fast, and how much may. Pure.
struct BodyProgress {
  var limit: BodyLimit
  /// How many bytes have come.
  private(set) var count: UInt64 = 0
  /// Since when, in the loop's milliseconds, and from which byte on the rate is measured.
  private var rateStart: (time: UInt64, count: UInt64)

  init(_ limit: BodyLimit, from now: UInt64) {
    self.limit = limit
    rateStart = (now, 0)
  }

  /// Another piece has come.
  mutating func add(_ bytes: Int) { count += UInt64(bytes) }

  /// Whether more has come than may.
  var isTooLarge: Bool { count > UInt64(limit.bytes) }

  /// How many of the last bytes are counted as kept: those beyond what any connection may keep.
  func counted(ofLast bytes: Int) -> Int {
    let all = Int(count)
    return max(0, all - MemoryAccount.uncounted) - max(0, all - bytes - MemoryAccount.uncounted)
  }

  /// Measures the rate of what comes from now on: the client is not to blame for the time that it had to wait.
  mutating func measureRate(from now: UInt64) { rateStart = (now, count) }

  /// Whether it comes more slowly than it may. Measured anew every few seconds: a burst buys no time for later.
  mutating func isTooSlow(at now: UInt64, _ limits: RequestClock.Limits) -> Bool {
    guard limits.bodyRate > 0 else { return false }
    let time = now - rateStart.time
    guard time >= RequestClock.Limits.rateSpan else { return false }
    let (least, overflows) = UInt64(limits.bodyRate).multipliedReportingOverflow(by: time)
    if overflows || (count - rateStart.count) * 1000 < least { return true }
    measureRate(from: now)
    return false
  }
}
