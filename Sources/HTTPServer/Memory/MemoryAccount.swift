import ByteBuffers

/// The bytes that one shard keeps for its clients, within the budget of all shards. Belongs to its shard's loop.
///
/// Taking bytes and giving them back is the shard's own arithmetic, except once every so many bytes.
package final class MemoryAccount {
  /// How many bytes the shard takes from the budget beyond its present need.
  private static let grant = 64 << 10
  /// What a connection or a stream may keep without being counted: about what each has in any case. So small requests
  /// are served even if the budget is used up.
  package static let uncounted = 32 << 10

  /// The error for a client that would need more than is left.
  package static let shortage: StaticString =
    "the gateway's memory budget is used up (--max-memory): try again"

  private let budget: MemoryBudget
  private let trimmer: MemoryTrimmer
  private var granted = 0
  /// How many bytes are kept now.
  package private(set) var used = 0

  package init(_ budget: MemoryBudget, trimmer: MemoryTrimmer) {
    self.budget = budget
    self.trimmer = trimmer
  }

  deinit { budget.giveBack(granted) }

  /// Ends the clients that do not read what is kept for them; called if there is no room.
  package var onShortage: () -> Void = {}

  /// Whether more is kept than the budget allows.
  var isOverdrawn: Bool { !budget.hasRoom(for: 0) }

  /// Whether `count` more bytes could be kept now.
  package func hasRoom(for count: Int) -> Bool {
    used + count <= granted || budget.hasRoom(for: used + count - granted)
  }

  /// Counts `count` more bytes; returns false, and counts nothing, if there is no room for them.
  package func take(_ count: Int) -> Bool {
    let missing = used + count - granted
    if missing > 0 {
      let more = budget.take(atLeast: missing, upTo: missing + Self.grant)
      guard more > 0 else { return false }
      granted += more
    }
    used += count
    trimmer.bytes.rise(to: used)
    return true
  }

  /// Counts `count` more bytes even if there is no room.
  fileprivate func force(_ count: Int) {
    guard !take(count) else { return }
    let missing = used + count - granted
    budget.force(missing)
    granted += missing
    used += count
    trimmer.bytes.rise(to: used)
  }

  package func giveBack(_ count: Int) {
    used -= count
    let spare = granted - used
    if spare > 2 * Self.grant || isOverdrawn {
      let rest = isOverdrawn ? 0 : Self.grant
      budget.giveBack(spare - rest)
      granted -= spare - rest
    }
    if trimmer.bytes.fall(to: used) { trimmer.trimSoon() }
  }
}

/// Bytes that are counted in a ``MemoryAccount`` as long as this value lives. Belongs to the account's loop.
///
/// It knows the account by its type, as each request has one of these: the bridge, which knows no account, counts by a
/// protocol, with `WatchBytes`.
package struct KeptBytes: ~Copyable {
  private let account: MemoryAccount
  package private(set) var count = 0

  package init(_ account: MemoryAccount) { self.account = account }

  deinit {
    if count > 0 { account.giveBack(count) }
  }

  /// Whether `more` bytes could be counted in addition.
  package func hasRoom(for more: Int) -> Bool { account.hasRoom(for: more) }

  /// Counts `more` bytes in addition; returns false, and changes nothing, if there is no room for them.
  package mutating func grow(by more: Int) -> Bool {
    guard account.take(more) else { return false }
    count += more
    return true
  }

  /// Counts `count` bytes from now on; returns false, and changes nothing, if there is no room for them. Fewer bytes
  /// always fit.
  package mutating func set(to count: Int) -> Bool {
    if count > self.count { return grow(by: count - self.count) }
    if count < self.count { account.giveBack(self.count - count) }
    self.count = count
    return true
  }

  /// Counts `more` bytes in addition even if there is no room.
  package mutating func force(_ more: Int) {
    account.force(more)
    count += more
  }

  /// Counts nothing any more.
  package mutating func release() { _ = set(to: 0) }
}
