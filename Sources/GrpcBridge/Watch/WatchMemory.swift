/// Where is counted what watches keep of messages that etcd is sending. Belongs to the loop of the watches.
package protocol WatchMemory: AnyObject {
  /// Counts `count` more bytes; false, and nothing counted, if there is no room for them.
  func take(_ count: Int) -> Bool
  func giveBack(_ count: Int)
  /// There was no room: has those go first whose clients do not read what waits for them.
  func makeRoom()
}

/// Bytes that are counted for as long as this lives.
struct WatchBytes: ~Copyable {
  /// Where; nil if it is not counted.
  private let memory: (any WatchMemory)?
  private var count = 0

  init(_ memory: (any WatchMemory)?) { self.memory = memory }

  deinit { if count > 0 { memory?.giveBack(count) } }

  /// Counts `count` bytes from now on; false, and nothing changed, if there is no room for them. There always is for
  /// fewer.
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
