/// What the maker of a `Lock` or `Campaign` without a lease wants besides, and hears of what came of it: a lease is
/// granted for the call, and revoked if the call comes to nothing. Belongs to one loop.
package final class QueueTicket {
  /// The time to live that is asked for, in seconds.
  let ttl: Int64
  /// How long to wait behind others, in milliseconds; with 0 not at all. The call's own time limit is for what comes
  /// before and after.
  let wait: UInt64
  /// The lease that was granted for the call; 0 until then.
  package internal(set) var lease: Int64 = 0
  /// The time to live that it has got, in seconds.
  package internal(set) var grantedTTL: Int64 = 0
  /// The revision at which the key was created that stands for the lock or the candidate.
  package internal(set) var revision: Int64 = 0
  /// Whether there was something to wait for.
  var isBehindAnother = false

  package init(ttl: Int64, wait: UInt64) {
    self.ttl = ttl
    self.wait = wait
  }
}
