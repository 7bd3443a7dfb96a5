import Synchronization

/// How many bytes the gateway may keep for its clients, all shards together (`--max-memory`): unfinished request
/// bodies, requests under way that came in pieces, answers that wait to be read, WebSocket messages, watches.
///
/// A shard takes its part in grants (``MemoryAccount``), so that it rarely touches the counter.
package final class MemoryBudget: Sendable {
  /// The whole budget, in bytes.
  let bytes: Int
  private let left: Atomic<Int>

  package init(bytes: Int) {
    self.bytes = bytes
    left = Atomic(bytes)
  }

  /// Whether `count` more bytes could be granted now.
  func hasRoom(for count: Int) -> Bool { left.load(ordering: .relaxed) >= count }

  /// Grants up to `wanted` bytes.
  ///
  /// - Returns: how many were granted: at least `least`, or 0.
  func take(atLeast least: Int, upTo wanted: Int) -> Int {
    var known = left.load(ordering: .relaxed)
    while known >= least {
      let granted = min(known, wanted)
      let result = left.compareExchange(expected: known, desired: known - granted, ordering: .relaxed)
      if result.exchanged { return granted }
      known = result.original
    }
    return 0
  }

  /// Takes bytes even if none are left: bytes that are in memory already must be counted.
  func force(_ count: Int) { left.wrappingSubtract(count, ordering: .relaxed) }

  /// Returns a grant.
  func giveBack(_ count: Int) { left.wrappingAdd(count, ordering: .relaxed) }
}
