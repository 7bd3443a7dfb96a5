/// What a channel has to tell of itself.
package struct ChannelSample: Sendable {
  /// The connection to one member, or one that finishes what it has.
  package struct Link: Sendable {
    package let endpoint: String
    /// One of ``states``.
    package let state: String

    /// Those there are; `idle` is for no connection.
    package static let states = ["idle", "connecting", "securing", "greeting", "ready", "draining"]
  }

  /// What has become of the connections to one member.
  package struct Dials: Sendable {
    package let endpoint: String
    package let connects: UInt64
    package let failures: UInt64
  }

  package var calls: [CallSample] = []
  package var dials: [Dials] = []
  package var links: [Link] = []
  /// How many calls are under way, those that wait for a connection or a login included.
  package var callsUnderWay = 0
  /// How many calls were sent again.
  package var repeats: UInt64 = 0
  /// How many calls ended before they were sent to any member.
  package var unsent: UInt64 = 0
}

/// What a bridge has to tell.
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
  /// How many watchers are at etcd for these.
  package var watchers = 0
  /// How many streams carry the keepalives of leases.
  package var leaseStreams = 0
}

/// How calls of users have come to their tokens. Belongs to the bridge's loop.
package struct TokenCounts: Sendable {
  /// Calls that had the token of a login before.
  package var known: UInt64 = 0
  /// Calls that had to wait for the authenticator's word.
  package var awaited: UInt64 = 0
  /// Calls whose token etcd did not accept any more.
  package var renewed: UInt64 = 0
}

/// What watches have come to. Belongs to the loop of their ``WatchHub``.
package struct WatchCounts: Sendable {
  /// Events that etcd has sent.
  package var received: UInt64 = 0
  /// Events that were passed on to clients' watches, one for each watch.
  package var delivered: UInt64 = 0
  /// Watchers that were created again after their stream had ended.
  package var resumed: UInt64 = 0
}
