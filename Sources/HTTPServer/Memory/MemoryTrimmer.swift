package import EventLoop

/// Gives memory back to the system once many clients, or those that took much, have gone: the allocator keeps what the
/// largest crowd took, in pieces that no single free gives back (malloc_trim(3)). Belongs to its shard's loop.
package final class MemoryTrimmer {
  /// A level that has been high. Falling to a quarter of the highest since then is when something can be given back.
  struct HighWater {
    /// From where on a level counts as high.
    let least: Int
    private var highest = 0

    init(least: Int) { self.least = least }

    mutating func rise(to level: Int) {
      if level > highest { highest = level }
    }

    /// Whether the level has fallen far enough; true once.
    mutating func fall(to level: Int) -> Bool {
      guard highest >= least, level <= highest / 4 else { return false }
      highest = level
      return true
    }
  }

  /// In milliseconds: not at once, because what is freed last is freed after this is heard of.
  private static let delay: UInt64 = 200
  /// It costs the shard milliseconds, which clients that come and go must not have at their pleasure.
  private static let leastInterval: UInt64 = 5000

  /// What is kept for clients, in bytes.
  var bytes = HighWater(least: 8 << 20)
  /// Connections that libmicrohttpd has.
  var connections = HighWater(least: 500)
  /// Connections that were taken over, of streams.
  var sockets = HighWater(least: 500)
  private let loop: EventLoop
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in
    lastTrim = loop.now
    returnFreeMemory()
  }
  private var lastTrim: UInt64?
  private var isStopped = false

  package init(loop: EventLoop) { self.loop = loop }

  func trimSoon() {
    if !isStopped && !timer.isActive { timer.start(after: Self.wait(at: loop.now, last: lastTrim)) }
  }

  /// How many milliseconds to wait before memory is given back.
  ///
  /// - Parameters:
  ///   - now: the time of the loop, in milliseconds.
  ///   - last: when it was last given back; nil if it never was.
  static func wait(at now: UInt64, last: UInt64?) -> UInt64 {
    guard let last, now < last + leastInterval else { return delay }
    return max(delay, last + leastInterval - now)
  }

  /// Does nothing more: the loop is about to end, and what is freed after that is the process's end.
  package func stop() {
    isStopped = true
    timer.stop()
  }
}
