import EventLoop
package import Logging

/// Logs users in, for all shards of a process, or for one client: one connection that carries `Authenticate` calls and
/// nothing else, so that a flood of logins never stands before anybody's reads and writes.
package final class Authenticator: Sendable {
  /// The limits on logins.
  package struct Configuration: Sendable {
    /// How many `Authenticate` calls may be under way. Each costs etcd 30 to 60 ms of a core (bcrypt).
    package var maxConcurrentLogins = 4
    /// How many logins may wait for their turn.
    package var maxWaitingLogins = 1024
    /// How many failures a user name or a peer address may have at once; one is forgiven a second.
    package var maxFailures = 10
    /// How many milliseconds a refused login is answered from memory.
    package var failureMemory: UInt64 = 1000
    /// How many tokens are kept.
    package var maxTokens = 10_000
    /// The time limit of a login, in milliseconds.
    package var timeout: UInt64 = 10_000

    package init() {}
  }

  /// What came of a login: a token, and whether it was fetched for this very question or is one that was known.
  typealias LoginReply = @Sendable (Result<(token: Token, isFresh: Bool), GRPCStatus>) -> Void

  /// The keys by which calls of all shards wait in queues: kept here, as this is what all of them have.
  let queueKeys = QueueKeys()
  private let coordinator: LoopBound<LazyLoginCoordinator>
  private let remote: EventLoop.Remote
  /// A loop and thread of its own, where it has them.
  private let own: (loop: LoopBound<EventLoop>, thread: LoopThread)?

  /// Starts a thread and a connection.
  ///
  /// - Parameters:
  ///   - logger: hears of refused logins.
  ///   - channelLogger: hears of the connection.
  /// - Throws: `LoopError` where the system grants no further descriptor or thread.
  package init(
    endpoints: [Endpoint], channel: Channel.Configuration, configuration: Configuration, logger: Logger,
    channelLogger: Logger
  ) throws {
    let loop = try EventLoop()
    let coordinator = LazyLoginCoordinator(loop, endpoints, channel, configuration, logger, channelLogger)
    coordinator.open()
    self.coordinator = LoopBound(coordinator, loop: loop)
    remote = loop.remote
    let bound = LoopBound(loop, loop: loop)
    own = (bound, try LoopThread(name: "etcd-rest auth", running: bound))
  }

  /// Shares the loop of its only user: nothing is begun before the first login.
  init(
    on loop: EventLoop, endpoints: [Endpoint], channel: Channel.Configuration, configuration: Configuration,
    logger: Logger
  ) {
    coordinator = LoopBound(LazyLoginCoordinator(loop, endpoints, channel, configuration, logger, logger), loop: loop)
    remote = loop.remote
    own = nil
  }

  /// Logs a user in, or gives out the token an earlier login got.
  ///
  /// - Parameter reply: called on the authenticator's thread.
  func login(_ request: LoginRequest, reply: @escaping LoginReply) {
    remote.execute { [coordinator] in coordinator.value.open().login(request, reply: reply) }
  }

  /// Passes an `AuthenticateRequest` of a client on, within the same limits; `reply` gets etcd's answer as it is, on
  /// the authenticator's thread.
  func authenticate(
    _ message: [UInt8], peer: Peer, reply: @escaping @Sendable (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    remote.execute { [coordinator] in coordinator.value.open().authenticate(message, peer: peer, reply: reply) }
  }

  /// Forgets refused logins: users have changed.
  func usersHaveChanged() {
    remote.execute { [coordinator] in coordinator.value.opened?.usersHaveChanged() }
  }

  /// Takes other members in place of those it has.
  package func update(_ endpoints: [Endpoint]) {
    remote.execute { [coordinator] in coordinator.value.update(endpoints) }
  }

  /// Ends the connection, and the thread where it has one of its own. To be called once, after all shards have ended;
  /// where the loop is shared, on that loop.
  package func close() {
    guard let own else {
      coordinator.value.opened?.close()
      return
    }
    remote.execute { [coordinator, loop = own.loop] in
      coordinator.value.opened?.close()
      loop.value.stop()
    }
    own.thread.join()
  }
}

/// What is to be logged in.
struct LoginRequest: Sendable {
  /// The hash of `credentials`.
  let key: CredentialKey
  let credentials: BasicCredentials
  /// A token that etcd no longer accepts: another one is fetched even if this one is the latest known.
  let stale: Token?
  /// Where the request came from.
  let peer: Peer
  /// Whether the credentials are this process's own.
  let isOwn: Bool
}

/// Makes the coordinator, and with it the connection, when it is first needed.
private final class LazyLoginCoordinator {
  private(set) var opened: LoginCoordinator?
  private var endpoints: [Endpoint]
  private let make: ([Endpoint]) -> LoginCoordinator

  init(
    _ loop: EventLoop, _ endpoints: [Endpoint], _ channel: Channel.Configuration,
    _ configuration: Authenticator.Configuration, _ logger: Logger, _ channelLogger: Logger
  ) {
    self.endpoints = endpoints
    make = { endpoints in
      LoginCoordinator(
        loop: loop, channel: Channel(loop: loop, endpoints: endpoints, configuration: channel, logger: channelLogger),
        configuration: configuration, logger: logger)
    }
  }

  @discardableResult
  func open() -> LoginCoordinator {
    if let opened { return opened }
    let coordinator = make(endpoints)
    opened = coordinator
    return coordinator
  }

  func update(_ endpoints: [Endpoint]) {
    self.endpoints = endpoints
    opened?.update(endpoints)
  }
}
