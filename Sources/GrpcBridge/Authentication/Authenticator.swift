import EventLoop
package import Logging

/// Logs users in, for all shards of a process: one thread with one connection that carries `Authenticate` calls and
/// nothing else, so that a flood of logins never stands before anybody's reads and writes.
package final class Authenticator: Sendable {
  /// The limits on logins.
  package struct Configuration: Sendable {
    /// How many `Authenticate` calls may be under way. Each costs etcd 30 to 60 ms of a core (bcrypt).
    package var mostConcurrentLogins = 4
    /// How many logins may wait for their turn.
    package var mostWaitingLogins = 1024
    /// How many failures a user name or a peer address may have at once; one is forgiven a second.
    package var mostFailures = 10
    /// How many milliseconds a refused login is answered from memory.
    package var failureMemory: UInt64 = 1000
    /// How many tokens are kept.
    package var mostTokens = 10_000
    /// The time limit of a login, in milliseconds.
    package var timeout: UInt64 = 10_000

    package init() {}
  }

  /// What came of a login: a token, and whether it was fetched for this very question or is one that was known.
  typealias LoginReply = @Sendable (Result<(token: Token, isFresh: Bool), GrpcStatus>) -> Void

  private let loop: LoopBound<EventLoop>
  private let desk: LoopBound<LoginDesk>
  private let remote: EventLoop.Remote
  private let thread: LoopThread

  /// Starts the thread and the connection.
  ///
  /// - Parameters:
  ///   - logger: hears of refused logins.
  ///   - channelLogger: hears of the connection.
  /// - Throws: `LoopError` where the system grants no further descriptors.
  package init(
    endpoints: [Endpoint], channel: Channel.Configuration, configuration: Configuration, logger: Logger,
    channelLogger: Logger
  ) throws {
    let loop = try EventLoop()
    let desk = LoginDesk(
      loop: loop, channel: Channel(loop: loop, endpoints: endpoints, configuration: channel, logger: channelLogger),
      configuration: configuration, logger: logger)
    self.loop = LoopBound(loop, loop: loop)
    self.desk = LoopBound(desk, loop: loop)
    remote = loop.remote
    thread = LoopThread(name: "etcd-rest auth", running: self.loop)
  }

  /// Logs a user in, or gives out the token an earlier login got.
  ///
  /// - Parameters:
  ///   - key: the hash of `credentials`.
  ///   - stale: a token that etcd no longer accepts; another one is fetched even if this one is the latest known.
  ///   - peer: the address the request came from, for the throttle.
  ///   - reply: called on the authenticator's thread.
  func login(
    _ key: CredentialKey, _ credentials: BasicCredentials, stale: Token?, peer: String,
    reply: @escaping LoginReply
  ) {
    remote.execute { [desk] in desk.value.login(key, credentials, stale: stale, peer: peer, reply: reply) }
  }

  /// Passes an `AuthenticateRequest` of a client on, within the same limits; `reply` gets etcd's answer as it is, on the
  /// authenticator's thread.
  func authenticate(
    _ message: [UInt8], peer: String, reply: @escaping @Sendable (Result<[UInt8], GrpcStatus>) -> Void
  ) {
    remote.execute { [desk] in desk.value.authenticate(message, peer: peer, reply: reply) }
  }

  /// Forgets refused logins: users have changed.
  func usersHaveChanged() {
    remote.execute { [desk] in desk.value.usersHaveChanged() }
  }

  /// Takes other members in place of those it has.
  package func update(_ endpoints: [Endpoint]) {
    remote.execute { [desk] in desk.value.update(endpoints) }
  }

  /// Ends the connection and the thread. To be called once, after all shards have ended.
  package func close() {
    remote.execute { [loop, desk] in
      desk.value.close()
      loop.value.stop()
    }
    thread.join()
  }
}
