/// The counters of logins for the whole process.
package struct LoginCounts: Sendable {
  /// Requests for a token from shards that did not know one, and logins that clients make themselves.
  package var asked: UInt64 = 0
  /// Requests that were answered with the token of an earlier login.
  package var cached: UInt64 = 0
  /// Requests that shared the result of a login under way.
  package var shared: UInt64 = 0
  /// Requests that were made because etcd no longer accepted a token.
  package var renewed: UInt64 = 0
  /// Logins that etcd has granted.
  package var granted: UInt64 = 0
  /// Logins that etcd has refused.
  package var refused: UInt64 = 0
  /// Logins that were refused without etcd, because it had refused the same one a moment before.
  package var remembered: UInt64 = 0
  /// Logins that were not tried, because there were too many failures or too many other logins.
  package var throttled: UInt64 = 0
  /// Logins that failed for another reason.
  package var failed: UInt64 = 0
}

/// The numbers of an authenticator for metrics.
package struct AuthenticatorSample: Sendable {
  package var logins = LoginCounts()
  /// How many users' tokens are kept.
  package var tokens = 0
  /// How many logins wait for their turn, or are under way at etcd.
  package var loginsWaiting = 0
  package var loginsUnderWay = 0
  package var channel = ChannelSample()

  init() {}
}
