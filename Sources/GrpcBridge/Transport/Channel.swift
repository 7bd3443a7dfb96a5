package import EventLoop
package import Logging

/// What a channel asks of its owner.
package protocol ChannelOwner: AnyObject {
  /// Offers the owner a call that ended with `status`, before its delegate hears of it. The owner answers true where it
  /// sees to the call itself, by holding it or sending it again.
  func channel(_ channel: Channel, takesBack call: Call, after status: GrpcStatus) -> Bool
}

/// Calls over one connection at a time to one of several members: connects and reconnects, keeps calls waiting for a
/// connection, watches their deadlines, and repeats those that may be repeated. Belongs to one loop.
package final class Channel {
  /// The limits of a channel, in milliseconds.
  package struct Configuration: Sendable {
    /// How long a connection may take to become ready, and how long a call waits for one.
    package var dialTimeout: UInt64 = 2000
    /// How long nothing may come from a member that owes an answer before it is asked for a sign of life. etcd ends
    /// connections that are asked more often than every 5 s (`--grpc-keepalive-min-time`).
    package var keepaliveTime: UInt64 = 15_000
    /// How long the sign of life may take before the connection is given up.
    package var keepaliveTimeout: UInt64 = 10_000

    package init(dialTimeout: UInt64 = 2000) { self.dialTimeout = dialTimeout }
  }

  /// How often deadlines are looked at, in milliseconds, while there are calls. etcd watches each deadline itself and
  /// more exactly: this one is for a member that does not answer.
  private static let tick: UInt64 = 25
  /// A repeatable call is sent at most this often, so far apart (clientv3's retry policy: 25 ms, give or take 10 %).
  private static let mostAttempts = 100
  private static let retryWait = 23...27
  /// A stream that members without a leader end is sent at most this often, to one after the other: with the waits between
  /// connections that takes about as long as all attempts at one member.
  private static let mostMembers = 8

  package weak var owner: (any ChannelOwner)?
  let readBuffer: UnsafeMutableRawBufferPointer
  private let loop: EventLoop
  private let endpoints: [Endpoint]
  let configuration: Configuration
  private let logger: Logger
  /// The calls that wait, or that have a deadline: the clock runs while there are any.
  private var watched = CallList()
  /// The others: those on the wire, or at a login, for as long as it takes.
  private var resting = CallList()
  private var connection: Connection?
  private var draining: [Connection] = []
  private var nextEndpoint = 0
  private var backoff = Backoff.connection
  private var readySince: UInt64 = 0
  /// Why there is no connection.
  private var trouble = "not connected yet"
  /// Whether the lack of a connection has been reported.
  private var isTroubled = false
  private(set) var isClosed = false
  /// Whether the clock runs.
  private(set) var isTicking = false
  private lazy var deadlines = LoopTimer(loop: loop) { [unowned self] in lookAtDeadlines() }
  private lazy var redial = LoopTimer(loop: loop) { [unowned self] in dial() }

  /// Makes a channel and begins to connect.
  package init(loop: EventLoop, endpoints: [Endpoint], configuration: Configuration, logger: Logger) {
    precondition(!endpoints.isEmpty)
    self.loop = loop
    self.endpoints = endpoints
    self.configuration = configuration
    self.logger = logger
    readBuffer = .allocate(byteCount: 131_072, alignment: 16)
    nextEndpoint = Int.random(in: 0..<endpoints.count)
    redial.start(after: 0)
  }

  deinit { readBuffer.deallocate() }

  package var isReady: Bool { connection?.state == .ready }

  // MARK: - Calls

  /// Sends `call`, or keeps it until there is a connection.
  package func send(_ call: Call) {
    guard take(call, as: .waiting) else { return }
    call.notBefore = 0
    call.patience = loop.now + configuration.dialTimeout
    submit(call)
  }

  /// Watches over the deadline of `call` while its owner prepares it.
  ///
  /// - Returns: whether the channel takes calls; a closed one has ended this one.
  func hold(_ call: Call) -> Bool {
    take(call, as: .loggingIn)
  }

  /// Sends another message of a stream that has not ended.
  func send(_ message: consuming CallMessage, on call: Call) {
    guard call.slot >= 0, let requests = call.requests, !requests.isFinished else { return }
    if call.hasReceivedMessage { requests.release(upTo: call.stream.bytesTaken) }
    requests.append(message.frame)
    call.stream.connection?.hasMoreToSend(call)
  }

  /// Ends the messages of a stream.
  func finishSending(_ call: Call) {
    guard call.slot >= 0, let requests = call.requests, !requests.isFinished else { return }
    requests.isFinished = true
    call.stream.connection?.hasMoreToSend(call)
  }

  /// Ends `call` without another word to its delegate. A call that is not under way is left alone.
  package func cancel(_ call: Call) {
    guard call.slot >= 0 else { return }
    call.stream.connection?.reset(call)
    drop(call)
  }

  /// Ends `call` from this side and tells its delegate.
  package func end(_ call: Call, with status: GrpcStatus) {
    guard call.slot >= 0 else { return }
    call.stream.connection?.reset(call)
    drop(call)
    call.delegate.call(call, endedWith: status)
  }

  /// Stops giving the window of a call's stream back: the member sends at most a window more.
  package func pause(_ call: Call) { call.stream.isPaused = true }

  /// Takes ``pause(_:)`` back.
  package func resume(_ call: Call) {
    guard call.stream.isPaused else { return }
    if let connection = call.stream.connection { connection.resume(call) } else { call.stream.isPaused = false }
  }

  /// Sends what this turn of the loop has made. To be called once a turn, before the loop waits.
  package func flush() {
    connection?.flush()
    for connection in draining { connection.flush() }
  }

  /// Whether ``flush()`` has anything to do.
  package var needsFlush: Bool { connection?.needsFlush == true || draining.contains { $0.needsFlush } }

  /// Takes the calls to come to another member than that of `connection`, which is of no use for now. What is under way
  /// goes on.
  func leave(_ connection: Connection) {
    guard endpoints.count > 1, connection === self.connection, connection.state == .ready else { return }
    nextEndpoint += 1
    connection.leave()
  }

  /// Ends all calls and all connections, for good.
  package func close() {
    isClosed = true
    for call in watched.calls + resting.calls { end(call, with: Self.closed) }
    redial.stop()
    deadlines.stop()
    for connection in draining { connection.fail("closed") }
    connection?.fail("closed")
  }

  static let closed = GrpcStatus(.unavailable, "the gateway is shutting down")

  /// Keeps `call` until it ends. A closed channel takes none: it ends them, and answers false.
  private func take(_ call: Call, as phase: Call.Phase) -> Bool {
    guard !isClosed else {
      drop(call)
      call.delegate.call(call, endedWith: Self.closed)
      return false
    }
    if call.deadline == .max, let timeout = call.timeout { call.deadline = loop.now + timeout }
    enter(phase, call)
    return true
  }

  private func drop(_ call: Call) {
    call.phase = .idle
    guard call.slot >= 0 else { return }
    if call.isWatched { watched.remove(call) } else { resting.remove(call) }
  }

  /// Moves `call` to another phase, and to the list it then belongs to.
  private func enter(_ phase: Call.Phase, _ call: Call) {
    call.phase = phase
    let isWatched = phase == .waiting || call.deadline != .max
    if call.slot >= 0 {
      guard isWatched != call.isWatched else { return }
      if call.isWatched { watched.remove(call) } else { resting.remove(call) }
    }
    call.isWatched = isWatched
    guard isWatched else { return resting.add(call) }
    watched.add(call)
    if !isTicking {
      isTicking = true
      deadlines.start(after: Self.tick, every: Self.tick)
    }
  }

  private func submit(_ call: Call) {
    guard let connection, connection.state == .ready else { return }
    do {
      call.attempts += 1
      try connection.submit(call)
      enter(.sent, call)
    } catch {
      // Stream numbers are used up or the peer has said goodbye: the next connection takes the call.
      logger.debug("the connection takes no more calls", metadata: ["reason": "\(error)"])
      connectionIsDraining(connection)
    }
  }

  /// A call's stream has ended. The call goes on where it may be repeated, else its delegate hears of it.
  func ended(_ call: Call, _ status: GrpcStatus, isUnexecuted: Bool) {
    if mayRepeat(call, after: status, isUnexecuted: isUnexecuted) {
      enter(.waiting, call)
      call.notBefore = call.attempts == 1 && isUnexecuted ? 0 : loop.now + UInt64(Int.random(in: Self.retryWait))
      call.patience = loop.now + configuration.dialTimeout
      if call.notBefore == 0 { submit(call) }
      return
    }
    if owner?.channel(self, takesBack: call, after: status) == true { return }
    drop(call)
    call.delegate.call(call, endedWith: status)
  }

  private func mayRepeat(_ call: Call, after status: GrpcStatus, isUnexecuted: Bool) -> Bool {
    guard !isClosed, !status.isOK, !call.hasReceivedMessage, call.attempts < Self.mostAttempts else { return false }
    if isUnexecuted { return true }
    if call.requiresLeader && status.isLackOfLeader && endpoints.count > 1 && call.attempts >= Self.mostMembers {
      return false
    }
    return status.code == .unavailable && call.method.isRepeatable
      && status.message != EtcdMessage.notSupportedForLearner
  }

  private func lookAtDeadlines() {
    let now = loop.now
    // Backwards, as the call at hand may go and the last one take its place.
    for index in watched.calls.indices.reversed() where index < watched.calls.count {
      let call = watched.calls[index]
      if now >= call.deadline {
        end(call, with: GrpcStatus(.deadlineExceeded, "etcd did not answer within \(call.timeout ?? 0) ms"))
      } else if call.phase == .waiting {
        if isReady {
          if now >= call.notBefore { submit(call) }
        } else if now >= call.patience {
          end(call, with: GrpcStatus(.unavailable, "no connection to etcd: \(trouble)"))
        }
      }
    }
    if watched.isEmpty {
      isTicking = false
      deadlines.stop()
    }
  }

  // MARK: - Connections

  private func dial() {
    guard connection == nil, !isClosed else { return }
    let connection = Connection(
      loop: loop, endpoint: endpoints[nextEndpoint % endpoints.count], channel: self)
    self.connection = connection
    connection.start(timeout: configuration.dialTimeout)
  }

  /// Whether the connection has been of use for longer than a peer needs that turns everybody away.
  private var hasServed: Bool { readySince > 0 && loop.now - readySince > UInt64(backoff.most) }

  func connectionIsReady(_ connection: Connection) {
    logger.log(
      level: isTroubled ? .notice : .debug, "connected to etcd", metadata: ["endpoint": "\(connection.endpoint)"])
    isTroubled = false
    readySince = loop.now
    for call in watched.calls where call.phase == .waiting && call.notBefore <= loop.now { submit(call) }
  }

  func connectionIsDraining(_ connection: Connection) {
    guard connection === self.connection else { return }
    self.connection = nil
    draining.append(connection)
    redial.start(after: hasServed ? 0 : backoff.wait())
  }

  func connectionEnded(_ connection: Connection, reason: String) {
    let wasCurrent = connection === self.connection
    if wasCurrent {
      self.connection = nil
      trouble = "\(connection.endpoint.authority): \(reason)"
      if !isClosed {
        logger.log(
          level: isTroubled ? .debug : .warning, "no connection to etcd",
          metadata: ["endpoint": "\(connection.endpoint)", "reason": "\(reason)"])
        isTroubled = true
        // A connection that has served for a while earns its endpoint a quick return.
        if hasServed { backoff.reset() }
        readySince = 0
        nextEndpoint += 1
        redial.start(after: backoff.wait())
      }
    } else {
      draining.removeAll { $0 === connection }
    }
    for call in watched.calls + resting.calls where call.stream.connection === connection {
      call.stream.connection = nil
      ended(
        call, GrpcStatus(.unavailable, "the connection to \(connection.endpoint.authority) was lost: \(reason)"),
        isUnexecuted: !call.stream.mayBeExecuted)
    }
  }
}
