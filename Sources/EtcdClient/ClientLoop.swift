internal import EventLoop
internal import GrpcBridge
internal import Synchronization

/// An operation on a client's thread for one waiting task, or for one stream. Belongs to the client's loop.
protocol ClientOperation: AnyObject {
  /// Begins; called once.
  func start()
  /// Ends it, at etcd too, and reports to the waiting reader that the task was cancelled.
  func cancel()
  /// Continues after the reader was too slow.
  func resume()
  /// Ends it with an error. Does nothing if the end of the bridge has ended it already.
  func close(_ error: EtcdError)
}

extension ClientOperation {
  func resume() {}
}

/// A task's reference to its operation.
final class CancellationToken: Sendable {
  private let cancellation = Atomic(false)

  /// Whether no reader waits any more.
  var isCancelled: Bool { cancellation.load(ordering: .acquiring) }

  func cancel() { cancellation.store(true, ordering: .releasing) }
}

/// The part of a client that belongs to its thread.
final class ClientLoop {
  let loop: EventLoop
  let configuration: EtcdClient.Configuration
  let bridge: Bridge
  /// The caller of all calls.
  let caller: Caller
  private let authenticator: Authenticator
  private let settings: Bridge.Configuration
  private var sync: EndpointSync?
  private var operations: [ObjectIdentifier: (cancellationToken: CancellationToken, operation: any ClientOperation)] =
    [:]
  /// Operations that have ended in this turn of the loop. They are kept, as their methods may still be running.
  private var ended: [any ClientOperation] = []
  /// Bridges to one member each, for calls to a certain member, with the number of their calls.
  private var members: [Endpoint: (bridge: Bridge, callCount: Int)] = [:]
  private(set) var isClosed = false

  init(_ loop: EventLoop, _ configuration: EtcdClient.Configuration, _ endpoints: [Endpoint], _ tls: ClientTLS?) {
    self.loop = loop
    self.configuration = configuration
    var settings = configuration.bridge
    settings.channel.tls = tls
    self.settings = settings
    authenticator = Authenticator(
      on: loop, endpoints: endpoints, channel: settings.channel, configuration: .init(), logger: configuration.logger)
    bridge = Bridge(
      loop: loop, endpoints: endpoints, authenticator: authenticator, configuration: settings,
      logger: configuration.logger)
    let credentials: CallCredentials =
      switch configuration.credentials {
      case .none: .none
      case .token(let token): .token(Token(token.utf8))
      case .basic(let user, let password): .user(bridge.keep(BasicCredentials(user: user, password: password)))
      }
    caller = Caller(credentials, peer: .itself)
    loop.beforeWaiting { [unowned self] in turn() }
    guard let interval = configuration.autoSyncInterval else { return }
    sync = EndpointSync(
      bridge: bridge, loop: loop, interval: interval.milliseconds, caller: caller, logger: configuration.logger
    ) { [unowned self] endpoints in
      bridge.update(endpoints)
      authenticator.update(endpoints)
    }
  }

  /// Runs once a turn of the loop, before it waits.
  private func turn() {
    guard !isClosed else { return }
    bridge.flush()
    for member in members.values { member.bridge.flush() }
    for (endpoint, member) in members where member.callCount == 0 {
      member.bridge.close()
      members[endpoint] = nil
    }
    ended.removeAll(keepingCapacity: true)
  }

  // MARK: - Operations

  /// Starts an operation unless its task has been cancelled in the meantime.
  func start(_ operation: any ClientOperation, _ cancellationToken: CancellationToken) {
    guard !cancellationToken.isCancelled else { return operation.cancel() }
    operations[ObjectIdentifier(cancellationToken)] = (cancellationToken, operation)
    operation.start()
  }

  /// Forgets an operation that has ended.
  func ended(_ cancellationToken: CancellationToken) {
    guard let entry = operations.removeValue(forKey: ObjectIdentifier(cancellationToken)) else { return }
    ended.append(entry.operation)
  }

  func cancel(_ cancellationToken: CancellationToken) {
    guard let operation = operations[ObjectIdentifier(cancellationToken)]?.operation else { return }
    ended(cancellationToken)
    operation.cancel()
  }

  func resume(_ cancellationToken: CancellationToken) {
    operations[ObjectIdentifier(cancellationToken)]?.operation.resume()
  }

  // MARK: - Members

  /// A bridge for one call: to any member, or to one of them. To be given back after the call.
  func takeBridge(to endpoint: Endpoint?) -> Bridge {
    guard let endpoint else { return bridge }
    let known = members[endpoint]?.bridge
    let bridge =
      known
      ?? Bridge(
        loop: loop, endpoints: [endpoint], authenticator: authenticator, configuration: settings,
        logger: configuration.logger)
    members[endpoint, default: (bridge, 0)].callCount += 1
    return bridge
  }

  func giveBackBridge(to endpoint: Endpoint?) {
    if let endpoint { members[endpoint]?.callCount -= 1 }
  }

  // MARK: - The end

  /// Ends everything, and the loop.
  func close() {
    isClosed = true
    sync?.stop()
    sync = nil
    bridge.close()
    for member in members.values { member.bridge.close() }
    for entry in operations.values { entry.operation.close(.clientClosed) }
    authenticator.close()
    loop.stop()
  }

  /// The error for a status.
  func error(_ status: GRPCStatus, at endpoint: Endpoint? = nil) -> EtcdError {
    isClosed ? .clientClosed : EtcdError(status, endpoint: endpoint)
  }
}
