/// Counts the bytes that watches keep of messages under way. Belongs to the loop of the watches.
package protocol WatchMemory: AnyObject {
  /// Counts `count` more bytes; returns false, and counts nothing, if there is no room for them.
  func take(_ count: Int) -> Bool
  func giveBack(_ count: Int)
  /// There was no room: ends the clients that do not read what waits for them.
  func makeRoom()
}

/// Bytes that are counted as long as this value lives.
///
/// The gateway has such a type of its own, `KeptBytes` of `HTTPServer`. One for both would have to know the gateway's
/// budget, which the bridge and the client library have not, or reach it by a protocol, as this does, which would cost
/// each request what only messages of watches pay here.
struct WatchBytes: ~Copyable {
  /// Nil if they are not counted.
  private let memory: (any WatchMemory)?
  private var count = 0

  init(_ memory: (any WatchMemory)?) { self.memory = memory }

  deinit { if count > 0 { memory?.giveBack(count) } }

  /// Counts `count` bytes from now on; returns false, and changes nothing, if there is no room for them. Fewer bytes
  /// always fit.
  mutating func set(to count: Int) -> Bool {
    guard let memory else { return true }
    if count > self.count {
      guard memory.take(count - self.count) else { return false }
    } else if count < self.count {
      memory.giveBack(self.count - count)
    }
    self.count = count
    return true
  }
}
