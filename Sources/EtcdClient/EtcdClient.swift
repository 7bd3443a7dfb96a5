internal import EventLoop
internal import GrpcBridge
public import Logging
internal import Synchronization

/// A client of etcd: typed calls of its whole API, over connections that it restores by itself.
///
/// One client serves any number of tasks; make one for a cluster and a user and keep it. It has a thread of its own, so
/// that it never blocks one of Swift's. Every call is `async`, throws `CancellationError` if its task is cancelled (it
/// then also ends at etcd), and fails with an ``EtcdError`` for all other reasons.
///
/// <doc:GettingStarted> shows how to use it.
public final class EtcdClient: Sendable {
  /// The client's configuration.
  public let configuration: Configuration
  private let thread: LoopThread
  private let core: Core
  /// Locked while the thread is ended, so that every call of ``close()`` waits for that.
  private let closing = Mutex(())

  /// Makes a client that begins to connect at once; calls wait for a connection.
  ///
  /// - Parameters:
  ///   - endpoints: the members' addresses for clients, in the form of ``Endpoint``, one at least.
  ///   - dialTimeout: how long a call waits for a connection.
  ///   - credentials: the user of the calls.
  ///   - requestTimeout: the default time limit of calls; nil for none.
  ///   - logger: logs connections made and lost; nil for no log.
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/invalidArgument`` for an invalid endpoint or limit, and
  ///   ``EtcdError/Code/resourceExhausted`` if the system grants no descriptor or thread.
  public convenience init(
    endpoints: [String], dialTimeout: Duration = .seconds(5), credentials: Credentials = .none,
    requestTimeout: Duration? = .seconds(30), logger: Logger? = nil
  ) throws {
    var configuration = Configuration(endpoints: endpoints)
    configuration.dialTimeout = dialTimeout
    configuration.credentials = credentials
    configuration.requestTimeout = requestTimeout
    if let logger { configuration.logger = logger }
    try self.init(configuration)
  }

  /// Makes a client that begins to connect at once; calls wait for a connection.
  ///
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/invalidArgument`` for an invalid endpoint or limit, and
  ///   ``EtcdError/Code/resourceExhausted`` if the system grants no descriptor or thread.
  public init(_ configuration: Configuration) throws {
    try configuration.check()
    let endpoints = try configuration.parsedEndpoints()
    let tls: ClientTLS?
    do {
      tls = try configuration.tls.map { try ClientTLS($0, logger: configuration.logger) }
    } catch {
      throw EtcdError.invalidArgument("\(error)")
    }
    self.configuration = configuration
    do {
      let loop = try EventLoop()
      let core = ClientLoop(loop, configuration, endpoints, tls)
      do {
        thread = try LoopThread(name: "etcd client", running: LoopBound(loop, loop: loop))
      } catch {
        core.close()
        throw error
      }
      self.core = Core(LoopBound(core, loop: loop))
    } catch {
      throw EtcdError(.resourceExhausted, .resourceExhausted, "cannot start an event loop or its thread: \(error)")
    }
  }

  deinit {
    // Not awaited: this may be one of the few threads that Swift's tasks share, and resolving a name may take long.
    if let thread = end() { thread.detach() }
  }

  /// Ends the client: calls under way fail with ``EtcdError/Code/clientClosed``, as later ones do, and streams end with
  /// it.
  ///
  /// Waits for the end of the client's thread: no connection, thread or descriptor is left. (This includes the
  /// resolution of a name, which cannot be cancelled.) May be called more than once. A client without references ends
  /// by itself, a moment later.
  public func close() {
    closing.withLock { _ in end()?.join() }
  }

  /// Makes the client's thread end; nil if that was done before.
  private func end() -> LoopThread? { core.end() ? thread : nil }

  /// Runs `job` on the client's thread.
  ///
  /// - Parameter job: must not refer to the client, whose end waits for the thread.
  /// - Returns: whether the job will be run: not after ``close()``.
  @discardableResult
  func execute(_ job: @escaping @Sendable (ClientLoop) -> Void) -> Bool { core.execute(job) }
}

/// The objects on the client's thread, for other threads. Only that thread releases them: elsewhere, their release
/// could make a thread of Swift's wait for a name resolution.
private final class Core: Sendable {
  private struct State {
    var loop: LoopBound<ClientLoop>?
    var isEnding = false
  }

  private let state: Mutex<State>

  init(_ loop: LoopBound<ClientLoop>) { state = Mutex(State(loop: loop)) }

  /// - Returns: whether the job will be run.
  func execute(_ job: @escaping @Sendable (ClientLoop) -> Void) -> Bool {
    // Handed over under the lock, so that no job comes after the end.
    state.withLock { state in
      guard !state.isEnding, let loop = state.loop else { return false }
      loop.remote.execute { job(loop.value) }
      return true
    }
  }

  /// - Returns: whether this is the first time.
  func end() -> Bool {
    state.withLock { state in
      guard !state.isEnding else { return false }
      state.isEnding = true
      state.loop?.remote.execute { [self] in
        let loop = self.state.withLock { $0.loop.take() }
        loop?.value.close()
      }
      return true
    }
  }
}
