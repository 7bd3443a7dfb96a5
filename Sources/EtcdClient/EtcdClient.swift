internal import EventLoop
internal import GrpcBridge
public import Logging
internal import Synchronization

/// A client of etcd: typed calls of its whole API, over connections that it keeps by itself.
///
/// One client serves any number of tasks; make one for a cluster and a user and keep it. It has a thread of its own, so
/// that nothing it does ever blocks Swift's; every call is `async`, ends early where its task is cancelled (etcd is
/// told, and the call throws `CancellationError`), and fails with an ``EtcdError`` for all other reasons.
///
/// <doc:GettingStarted> shows how to use it.
public final class EtcdClient: Sendable {
  /// What the client was made with.
  public let configuration: Configuration
  private let thread: LoopThread
  private let core: Core
  /// Held while the thread is ended, so that everybody who closes the client waits for that.
  private let closing = Mutex(())

  /// Makes a client that begins to connect at once; calls wait for a connection.
  ///
  /// - Parameters:
  ///   - endpoints: where the members serve clients: as ``Endpoint`` reads them, one at least.
  ///   - dialTimeout: how long a call waits for a connection.
  ///   - credentials: who the calls are made for.
  ///   - requestTimeout: the time limit of calls that are made without one; nil for none.
  ///   - logger: hears of connections made and lost; nobody where nil.
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/invalidArgument`` for what cannot be an endpoint or a limit, and
  ///   ``EtcdError/Code/resourceExhausted`` where the system grants no descriptor or thread.
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
  /// - Throws: ``EtcdError`` with ``EtcdError/Code/invalidArgument`` for what cannot be an endpoint or a limit, and
  ///   ``EtcdError/Code/resourceExhausted`` where the system grants no descriptor or thread.
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
      throw EtcdError(.resourceExhausted, .resourceExhausted, "the client has no event loop or thread: \(error)")
    }
  }

  deinit {
    // Not waited for: this may be one of the few threads that Swift's tasks share, and a name that is being resolved
    // can take its time.
    if let thread = end() { thread.detach() }
  }

  /// Ends the client: calls under way fail with ``EtcdError/Code/clientClosed``, as later ones do, and streams end with
  /// it.
  ///
  /// Waits for the client's thread, which has nothing left to do: no connection, thread or descriptor is left. (One
  /// thing cannot be taken back: a name that is being resolved at this moment is waited for.) May be called more than
  /// once. A client that nothing refers to any more ends by itself, a moment later.
  public func close() {
    closing.withLock { _ in end()?.join() }
  }

  /// Has the client's thread end; nil where it was told so before.
  private func end() -> LoopThread? { core.end() ? thread : nil }

  /// Runs `job` on the client's thread.
  ///
  /// - Parameter job: must not refer to the client, whose end waits for the thread.
  /// - Returns: whether it will be run: not after ``close()``.
  @discardableResult
  func execute(_ job: @escaping @Sendable (ClientLoop) -> Void) -> Bool { core.execute(job) }
}

/// All that lives on the client's thread, as other threads reach it. Only that thread takes it out, so that it is freed
/// there: elsewhere, its end could make a thread of Swift's wait for a name that is being resolved.
private final class Core: Sendable {
  private struct State {
    var loop: LoopBound<ClientLoop>?
    var isEnding = false
  }

  private let state: Mutex<State>

  init(_ loop: LoopBound<ClientLoop>) { state = Mutex(State(loop: loop)) }

  /// - Returns: whether it will be run.
  func execute(_ job: @escaping @Sendable (ClientLoop) -> Void) -> Bool {
    // Handed over under the lock, so that nothing comes behind the end.
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
