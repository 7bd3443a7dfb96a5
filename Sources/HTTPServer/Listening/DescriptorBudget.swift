import Glibc

/// How many of the process's descriptors are for clients: all that are not reserved for etcd, for files, and for the
/// moment in which a stream's connection is taken over. If too few are left for any client, the process does not start.
package struct DescriptorBudget: Sendable {
  /// For a shard: its loop, its timers, and what is open only within a turn.
  private static let perShard = 24
  /// For the process: standard streams, listening sockets, files that are read again, name lookups.
  private static let perProcess = 32
  /// For the connections to one member, of calls and streams, including those that replace old ones.
  private static let perMember = 4

  /// For the clients of a shard at the least: a connection with TLS takes three, and its takeover one more for a
  /// moment.
  private static let leastForClients = 4

  /// How many descriptors the clients of each shard may have.
  package let clientsPerShard: Int

  /// The process may have fewer descriptors than it needs for one client on each shard.
  package struct Shortage: Error, CustomStringConvertible {
    let limit: Int
    let needed: Int

    package var description: String {
      "at least \(needed) descriptors are needed, and the limit is \(limit): raise it (ulimit -n), or take fewer --shards"
    }
  }

  /// - Parameters:
  ///   - limit: how many descriptors the process may have.
  ///   - members: how many members of etcd there are, or may be.
  /// - Throws: ``Shortage`` if that is not enough for a client on each shard.
  package init(limit: Int, shards: Int, members: Int) throws(Shortage) {
    let kept = Self.perProcess + shards * Self.perShard + (shards + 1) * max(members, 3) * Self.perMember
    let needed = kept + shards * Self.leastForClients
    guard limit >= needed else { throw Shortage(limit: limit, needed: needed) }
    clientsPerShard = (limit - kept) / shards
  }

  /// How many descriptors the process may have (getrlimit(2), `RLIMIT_NOFILE`).
  package static var systemLimit: Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(exactly: limit.rlim_cur) ?? .max
  }
}
