/// The numbers of a channel for metrics.
package struct ChannelSample: Sendable {
  /// The connection to one member, or an old one that finishes its calls.
  package struct Link: Sendable {
    package let endpoint: String
    /// One of ``states``.
    package let state: String

    /// All states; `idle` means no connection.
    package static let states = ["idle", "connecting", "securing", "greeting", "ready", "draining"]
  }

  /// The attempts to connect to one member.
  package struct Dials: Sendable {
    package let endpoint: String
    package let connects: UInt64
    package let failures: UInt64
  }

  package var calls: [CallSample] = []
  package var dials: [Dials] = []
  package var links: [Link] = []
  /// How many calls are under way, including those that wait for a connection or a login.
  package var callsUnderWay = 0
  /// How many calls were sent again.
  package var repeats: UInt64 = 0
  /// How many calls ended before they were sent to any member.
  package var unsent: UInt64 = 0
}

/// The numbers of a bridge for metrics.
package struct BridgeSample: Sendable {
  /// What each kind of channel has: `calls` or `streams`.
  package var channels: [(kind: String, sample: ChannelSample)] = []
  package var users = TokenCounts()
  package var batches = BatchCounts()
  package var watchCounts = WatchCounts()
  /// Keepalives that etcd has answered.
  package var keepalives: UInt64 = 0
  /// How many watches clients have.
  package var watches = 0
  /// How many watchers at etcd serve them.
  package var watchers = 0
  /// How many streams carry the keepalives of leases.
  package var leaseStreams = 0
}

/// How calls of users got their tokens. Belongs to the bridge's loop.
package struct TokenCounts: Sendable {
  /// Calls that used the token of an earlier login.
  package var known: UInt64 = 0
  /// Calls that had to wait for the authenticator.
  package var awaited: UInt64 = 0
  /// Calls whose token etcd no longer accepted.
  package var renewed: UInt64 = 0
}

/// The counters of watches. Belongs to the loop of their ``WatchHub``.
package struct WatchCounts: Sendable {
  /// Events that etcd has sent.
  package var received: UInt64 = 0
  /// Events that were passed on to clients' watches, counted for each watch.
  package var delivered: UInt64 = 0
  /// Watchers that were created again after their stream had ended.
  package var resumed: UInt64 = 0
}
