/// What the maker of a `Lock` or `Campaign` without a lease wants beyond the request, and the results: a lease is
/// granted for the call, and revoked if the call fails. Belongs to one loop.
package final class QueueTicket {
  /// The requested time to live, in seconds.
  let ttl: Int64
  /// How long to wait behind others, in milliseconds; 0 for not at all. The call's own time limit applies before and
  /// after that.
  let wait: UInt64
  /// The lease that was granted for the call; 0 until then.
  package internal(set) var lease: Int64 = 0
  /// The granted time to live, in seconds.
  package internal(set) var grantedTTL: Int64 = 0
  /// The revision at which the key of the lock or the candidate was created.
  package internal(set) var revision: Int64 = 0
  /// Whether the call had to wait.
  var isBehindAnother = false

  package init(ttl: Int64, wait: UInt64) {
    self.ttl = ttl
    self.wait = wait
  }
}
