/// What has become of logins, for the whole process.
package struct LoginCounts: Sendable {
  /// Questions for a token of a shard's that did not know one, and logins that clients make themselves.
  package var asked: UInt64 = 0
  /// Those that were answered with the token of a login before.
  package var cached: UInt64 = 0
  /// Those that were told what a login under way came to.
  package var shared: UInt64 = 0
  /// Those that were made as etcd did not accept a token any more.
  package var renewed: UInt64 = 0
  /// Logins that etcd has granted.
  package var granted: UInt64 = 0
  /// Logins that etcd has refused.
  package var refused: UInt64 = 0
  /// Those that were refused without etcd, as it had refused the same one a moment before.
  package var remembered: UInt64 = 0
  /// Logins that were not tried, as there were too many failures, or too many others.
  package var throttled: UInt64 = 0
  /// Logins that came to nothing for another reason.
  package var failed: UInt64 = 0
}

/// What an authenticator has to tell.
package struct AuthenticatorSample: Sendable {
  package var logins = LoginCounts()
  /// How many users' tokens are kept.
  package var tokens = 0
  /// How many logins wait for their turn, or are under way at etcd.
  package var loginsWaiting = 0
  package var loginsUnderWay = 0
  package var channel = ChannelSample()

  package init() {}
}
