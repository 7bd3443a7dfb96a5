package import EventLoop

/// Gives memory back to the system after many clients, or clients that took much, have gone: the allocator keeps what
/// the largest crowd took, in pieces that no single free gives back (malloc_trim(3)). Belongs to its shard's loop.
package final class MemoryTrimmer {
  /// A level that has been high. When it falls to a quarter of its highest value, memory can be given back.
  struct HighWater {
    /// From which value on a level counts as high.
    let least: Int
    private var highest = 0

    init(least: Int) { self.least = least }

    mutating func rise(to level: Int) {
      if level > highest { highest = level }
    }

    /// Whether the level has now fallen far enough; true once.
    mutating func fall(to level: Int) -> Bool {
      guard highest >= least, level <= highest / 4 else { return false }
      highest = level
      return true
    }
  }

  /// In milliseconds: not at once, because some memory is freed only after the notification.
  private static let delay: UInt64 = 200
  /// Trimming costs the shard milliseconds. Clients that come and go must not be able to cause it at will.
  private static let leastInterval: UInt64 = 5000

  /// The bytes kept for clients.
  var bytes = HighWater(least: 8 << 20)
  /// Connections that libmicrohttpd has.
  var connections = HighWater(least: 500)
  /// Connections of streams, which were taken over.
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
  ///   - last: when memory was last given back; nil if never.
  static func wait(at now: UInt64, last: UInt64?) -> UInt64 {
    guard let last, now < last + leastInterval else { return delay }
    return max(delay, last + leastInterval - now)
  }

  /// Stops trimming: the loop is about to end, and with it the process.
  package func stop() {
    isStopped = true
    timer.stop()
  }
}
