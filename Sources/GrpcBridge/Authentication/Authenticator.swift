package import EventLoop
package import Logging
import Synchronization

/// Logs users in, for all shards of a process, or for one client. Its connection carries only `Authenticate` calls, so
/// that a flood of logins never delays reads and writes.
package final class Authenticator: Sendable {
  /// The limits on logins.
  package struct Configuration: Sendable {
    /// How many `Authenticate` calls may be under way. Each costs etcd 30 to 60 ms of a core (bcrypt).
    package var maxConcurrentLogins = 4
    /// How many logins may wait for their turn.
    var maxWaitingLogins = 1024
    /// How many failures a user name or a peer address may have at once; one is forgiven a second.
    package var maxFailures = 10
    /// How many milliseconds a refused login is remembered and answered without etcd.
    var failureMemory: UInt64 = 1000
    /// How many tokens are kept.
    package var maxTokens = 10_000
    /// The time limit of a login, in milliseconds.
    var timeout: UInt64 = 10_000

    package init() {}
  }

  /// The result of a login: a token, and whether it was fetched for this request or was known before.
  typealias LoginReply = @Sendable (Result<(token: Token, isFresh: Bool), GRPCStatus>) -> Void

  /// The keys by which calls of all shards wait in queues: kept here, as all shards share the authenticator.
  let queueKeys = QueueKeys()
  private let coordinator: LoopBound<LazyLoginCoordinator>
  private let remote: EventLoop.Remote
  /// The authenticator's own loop, if it has one, and that loop's thread once it was started.
  private let ownLoop: LoopBound<EventLoop>?
  private let thread = Mutex<LoopThread?>(nil)

  /// Makes one with a loop of its own, which ``start()`` runs.
  ///
  /// - Parameters:
  ///   - logger: for refused logins.
  ///   - channelLogger: for the connection.
  /// - Throws: `LoopError` if the system grants no further descriptor.
  package init(
    endpoints: [Endpoint], channel: Channel.Configuration, configuration: Configuration, logger: Logger,
    channelLogger: Logger
  ) throws {
    let loop = try EventLoop()
    coordinator = LoopBound(
      LazyLoginCoordinator(loop, endpoints, channel, configuration, logger, channelLogger), loop: loop)
    remote = loop.remote
    ownLoop = LoopBound(loop, loop: loop)
  }

  /// Shares the loop of its only user. It connects with the first login.
  package init(
    on loop: EventLoop, endpoints: [Endpoint], channel: Channel.Configuration, configuration: Configuration,
    logger: Logger
  ) {
    coordinator = LoopBound(LazyLoginCoordinator(loop, endpoints, channel, configuration, logger, logger), loop: loop)
    remote = loop.remote
    ownLoop = nil
  }

  /// Starts the thread of its own loop, and a connection. To be called once, before all other methods.
  ///
  /// - Throws: `LoopError` if the system grants no further thread. Then nothing is left running.
  package func start() throws(LoopError) {
    guard let ownLoop else { return }
    coordinator.value.open()
    do throws(LoopError) {
      let started = try LoopThread(name: "etcd-rest auth", running: ownLoop)
      thread.withLock { $0 = started }
    } catch {
      coordinator.value.opened?.close()
      throw error
    }
  }

  /// Logs a user in, or returns the token of an earlier login.
  ///
  /// - Parameter reply: called on the authenticator's thread.
  func login(_ request: LoginRequest, reply: @escaping LoginReply) {
    remote.execute { [coordinator] in coordinator.value.open().login(request, reply: reply) }
  }

  /// Passes an `AuthenticateRequest` of a client on, within the same limits. `reply` gets etcd's unchanged answer, on
  /// the authenticator's thread.
  func authenticate(
    _ message: [UInt8], peer: Peer, reply: @escaping @Sendable (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    remote.execute { [coordinator] in coordinator.value.open().authenticate(message, peer: peer, reply: reply) }
  }

  /// Calls `reply` with the authenticator's counters, on the authenticator's thread.
  package func sample(_ reply: @escaping @Sendable (AuthenticatorSample) -> Void) {
    remote.execute { [coordinator] in reply(coordinator.value.opened?.sample ?? AuthenticatorSample()) }
  }

  /// Runs `job` on the authenticator's thread, soon.
  package func execute(_ job: @escaping @Sendable () -> Void) { remote.execute(job) }

  /// Forgets refused logins, after a change of users.
  func usersHaveChanged() {
    remote.execute { [coordinator] in coordinator.value.opened?.usersHaveChanged() }
  }

  /// Replaces the set of members.
  package func update(_ endpoints: [Endpoint]) {
    remote.execute { [coordinator] in coordinator.value.update(endpoints) }
  }

  /// Ends the connection, and the thread if it has one of its own. To be called once, after all shards have ended; on
  /// the loop if that is shared.
  package func close() {
    guard let ownLoop, let thread = thread.withLock({ $0.take() }) else {
      coordinator.value.opened?.close()
      return
    }
    remote.execute { [coordinator] in
      coordinator.value.opened?.close()
      ownLoop.value.stop()
    }
    thread.join()
  }
}

/// A login to be made.
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
