import Glibc

/// How many of the process's descriptors its clients may have: the rest is kept back for etcd, files, and what is needed for a
/// moment while a stream's connection changes hands.
struct DescriptorBudget: Sendable {
  /// Of a shard: its loop, its timers, what comes and goes within a turn.
  private static let perShard = 24
  /// Of the process: standard streams, listening sockets, files that are read again, lookups of names.
  private static let perProcess = 32
  /// Connections to one member, those that take the place of others included: calls and streams.
  private static let perMember = 4

  /// How many the clients of all shards may have together.
  let clients: Int

  /// - Parameters:
  ///   - limit: how many the process may have.
  ///   - members: how many members of etcd there are, or may be.
  init(limit: Int, shards: Int, members: Int) {
    let kept = Self.perProcess + shards * Self.perShard + (shards + 1) * max(members, 3) * Self.perMember
    clients = max(limit - kept, limit / 4)
  }

  /// How many descriptors the process may have (getrlimit(2), `RLIMIT_NOFILE`).
  static var systemLimit: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(exactly: limit.rlim_cur) ?? .max
  }
}
