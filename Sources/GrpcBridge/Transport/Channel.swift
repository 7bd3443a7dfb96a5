package import EventLoop
import Logging

/// The owner of a channel.
protocol ChannelOwner: AnyObject {
  /// Offers the owner a call that has ended with `status`, before the call's delegate is notified.
  ///
  /// - Returns: true if the owner takes the call over: it holds the call, or sends it again.
  func channel(_ channel: Channel, takesBack call: Call, after status: GRPCStatus) -> Bool
}

/// Calls to the members of a cluster. A channel sends them to the usable members in turn, keeps those that wait for a
/// connection, watches their deadlines, and repeats those that may be repeated, at another member if there is one.
/// Belongs to one loop.
package final class Channel {
  /// The limits of a channel, in milliseconds, and the security of its connections.
  package struct Configuration: Sendable {
    /// How long a connection may take to become ready, and how long a call waits for one, or for its member to take
    /// anything of its message.
    package var dialTimeout: UInt64 = 2000
    /// How long a member that has streams, but owes no answer, may send nothing before it gets a PING. etcd ends
    /// connections that get PINGs more often than every 5 s (`--grpc-keepalive-min-time`).
    package var keepaliveTime: UInt64 = 10_000
    /// How long a member may send nothing after a PING before the connection is given up.
    package var keepaliveTimeout: UInt64 = 5000
    /// How long a member that owes answers may send nothing before it gets a PING. After as long again new calls go to
    /// other members, and so do the repeatable calls that wait there.
    package var suspectAfter: UInt64 = 1000
    /// Whether calls that have not been sent wait for a connection even if every member refuses connections (gRPC
    /// documentation, "Wait for Ready"). If not, they end with *unavailable*, without waiting for ``dialTimeout``.
    package var waitsForReady = true
    /// The waits between attempts to connect to a member.
    package var backoff = Backoff.connection
    /// The TLS of the endpoints. If it is nil, TLS is not configured, and only endpoints that ask for it use it.
    package var tls: ClientTLS?
    /// Makes the connections, without TLS, in place of sockets; nil except in tests. Called on the channel's loop.
    package var connect: (@Sendable (Endpoint) -> any ByteStream)?

    init(dialTimeout: UInt64 = 2000) { self.dialTimeout = dialTimeout }
  }

  /// How often deadlines are checked, in milliseconds, while there are calls. etcd itself watches each deadline more
  /// exactly; this check is for members that do not answer.
  private static let tick: UInt64 = 25
  /// The milliseconds between two attempts of a call (clientv3's retry policy: 25 ms, give or take 10 %).
  private static let retryWait = 23...27

  // Not weak: a weak reference makes every retain of its object slow.
  unowned var owner: (any ChannelOwner)?
  /// Sends reads of single keys together; nil if each read goes alone.
  var batcher: ReadBatcher?
  let readBuffer: UnsafeMutableRawBufferPointer
  let loop: EventLoop
  let configuration: Configuration
  let logger: Logger
  private(set) var subchannels: [Subchannel] = []
  /// Members that were removed from the endpoints, with calls still under way.
  private(set) var retired: [Subchannel] = []
  /// The index of the member whose turn it is. All calls of one turn of the loop go to the same member, so that they
  /// leave in one write.
  private var turn = 0
  private var hasTurned = false
  /// The calls that wait, have a deadline, or of which nothing has been sent yet. The clock runs while there are any.
  private var watched = CallList()
  /// All other calls. They may last for any time.
  private var resting = CallList()
  /// Takes over calls whose makers have lost interest.
  private lazy var abandonedCalls = AbandonedCalls(channel: self)
  /// The counts of the calls to each member.
  var counts: [Endpoint: CallCounts] = [:]
  /// The counts of the members that have no place in ``counts``.
  let otherCounts = CallCounts()
  /// How many calls were sent again, and how many ended without having been sent.
  private(set) var repeats: UInt64 = 0
  private(set) var unsent: UInt64 = 0
  private(set) var isClosed = false
  /// Whether the clock runs.
  private(set) var isTicking = false
  private lazy var deadlines = LoopTimer(loop: loop) { [unowned self] in lookAtDeadlines() }

  /// Makes a channel and begins to connect to all members.
  init(loop: EventLoop, endpoints: [Endpoint], configuration: Configuration, logger: Logger) {
    precondition(!endpoints.isEmpty)
    self.loop = loop
    self.configuration = configuration
    self.logger = logger
    readBuffer = .allocate(byteCount: 131_072, alignment: 16)
    subchannels = endpoints.map { Subchannel($0, channel: self, loop: loop) }
    turn = Int.random(in: 0..<subchannels.count)
  }

  deinit { readBuffer.deallocate() }

  // MARK: - Calls

  /// Sends `call`, or keeps it until there is a connection.
  func send(_ call: Call) {
    guard take(call, as: .waiting) else { return }
    guard !call.method.runsToEnd || abandonedCalls.mayBegin(call) else {
      return end(call, with: Self.tooManyAbandonedCalls)
    }
    begin(call, afterPause: false)
  }

  /// Sends `call` after the pause between two attempts.
  func sendAfterPause(_ call: Call) {
    if take(call, as: .waiting) { begin(call, afterPause: true) }
  }

  /// Sends a call that waits, at once or after the pause between two attempts.
  private func begin(_ call: Call, afterPause: Bool) {
    call.notBefore = afterPause ? loop.now + UInt64(Int.random(in: Self.retryWait)) : 0
    call.patience = loop.now + configuration.dialTimeout
    if !afterPause { submit(call) }
  }

  /// Watches the deadline of `call` while its owner prepares it.
  ///
  /// - Returns: false if the channel is closed; then the call has ended.
  func hold(_ call: Call) -> Bool {
    take(call, as: .loggingIn)
  }

  /// The same for a read that may share a batch at the end of the turn.
  func gather(_ call: Call) -> Bool { take(call, as: .travelling) }

  /// Sends a batch of reads.
  ///
  /// - Returns: whether the connection takes it.
  func start(_ batch: ReadBatch, on connection: Connection) -> Bool {
    guard (try? connection.submit(batch.call)) != nil else {
      connection.leave()
      return false
    }
    batch.call.patience = loop.now + configuration.dialTimeout
    enter(.sent, batch.call)
    return true
  }

  /// Sends another message of a stream. It is ignored if the stream has ended.
  func send(_ message: consuming CallMessage, on call: Call) {
    guard call.slot >= 0, let requests = call.requests, !requests.isFinished else { return }
    if call.hasReceivedMessage { requests.release(upTo: call.stream.bytesTaken) }
    requests.append(message)
    call.stream.connection?.hasMoreToSend(call)
  }

  /// Ends the requests of a stream.
  func finishSending(_ call: Call) {
    guard call.slot >= 0, let requests = call.requests, !requests.isFinished else { return }
    requests.isFinished = true
    call.stream.connection?.hasMoreToSend(call)
  }

  /// Ends `call` without a further notification of its delegate. A call that is not under way is ignored.
  func cancel(_ call: Call) {
    guard call.slot >= 0, !leave(call) else { return }
    count(call, .canceled)
    reset(call)
  }

  /// Ends `call` from this side and notifies its delegate.
  func end(_ call: Call, with status: GRPCStatus) {
    guard call.slot >= 0 else { return }
    let delegate = call.delegate
    if call.retry.attempts == 0 && !status.isOK { unsent &+= 1 }
    if !leave(call) {
      count(call, status.code)
      reset(call)
    }
    delegate.call(call, endedWith: status)
  }

  /// Ends `call` from this side. If it waits in a queue, its key there is removed before its delegate is notified.
  func giveUp(_ call: Call, with status: GRPCStatus) {
    guard call.slot >= 0 else { return }
    if call.place != nil {
      count(call, status.code)
      call.stream.connection?.reset(call)
      if owner?.channel(self, takesBack: call, after: status) == true { return }
    }
    end(call, with: status)
  }

  /// Gives up the calls that have waited in one of etcd's queues for `wait` milliseconds or more since they were sent.
  func giveUpWaiting(after wait: UInt64, with status: GRPCStatus) {
    let latest = preciseTime - min(preciseTime, wait * 1_000_000)
    for call in watched.calls + resting.calls
    where call.method.queue != nil && call.phase == .sent && call.sentAt <= latest { giveUp(call, with: status) }
  }

  func reset(_ call: Call) {
    call.stream.connection?.reset(call)
    drop(call)
  }

  /// If `call` must not be cancelled at etcd, lets it run to its end without its maker.
  ///
  /// - Returns: whether `call` is such a call, from now on or already.
  private func leave(_ call: Call) -> Bool {
    guard call.method.runsToEnd, !isClosed else { return false }
    if call.delegate === abandonedCalls { return true }
    guard call.phase == .sent, call.stream.mayBeExecuted, !call.hasReceivedMessage
    else { return false }
    abandonedCalls.take(call)
    call.deadline = .max
    enter(.sent, call)
    return true
  }

  /// Stops giving back the window of a call's stream: the member sends one window more at most.
  func pause(_ call: Call) { call.stream.isPaused = true }

  /// Undoes ``pause(_:)``.
  func resume(_ call: Call) {
    guard call.stream.isPaused else { return }
    if let connection = call.stream.connection { connection.resume(call) } else { call.stream.isPaused = false }
  }

  /// Sends the frames of this turn of the loop. To be called once a turn, before the loop waits.
  func flush() {
    hasTurned = false
    for subchannel in subchannels { subchannel.flush() }
    guard !retired.isEmpty else { return }
    for subchannel in retired { subchannel.flush() }
    retired.removeAll { !$0.isDraining }
  }

  /// Whether ``flush()`` has anything to do.
  var needsFlush: Bool { subchannels.contains { $0.needsFlush } || retired.contains { $0.needsFlush } }

  /// Ends all calls and all connections, for good.
  func close() {
    isClosed = true
    for call in watched.calls + resting.calls { end(call, with: Self.closed) }
    deadlines.stop()
    for subchannel in subchannels + retired { subchannel.close() }
  }

  static let closed = GRPCStatus(.unavailable, "the gateway is shutting down")

  private static let tooManyAbandonedCalls = GRPCStatus(
    .resourceExhausted, "too many transactions are under way of clients at this address that have disconnected",
    origin: .throttled(retryAfter: 1))

  /// Keeps `call` until it ends.
  ///
  /// - Returns: false if the channel is closed; then the call has ended.
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
    call.place?.abandon()
    if let batch = call.batch {
      call.batch = nil
      batch.isLeft(by: call)
    }
  }

  /// Moves `call` to `phase`, and to the list to which it then belongs.
  private func enter(_ phase: Call.Phase, _ call: Call) {
    call.phase = phase
    let isWatched = phase == .waiting || call.deadline != .max || call.isUntaken
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
    guard let subchannel = subchannel(for: call), let connection = subchannel.connection else { return }
    do {
      call.retry.isSent()
      try connection.submit(call)
      call.place?.isSent()
      call.patience = loop.now + configuration.dialTimeout
      enter(.sent, call)
    } catch {
      // The stream numbers are used up, or the peer has sent a GOAWAY: the next connection takes the call.
      logger.debug("the connection takes no more calls", metadata: ["reason": "\(error)"])
      connection.leave()
    }
  }

  /// The best member for a call; nil if there is no connection.
  var readyMember: ReadyMember? {
    let best = subchannels.min { left, right in
      (left.rank(failedAt: nil)?.rawValue ?? .max) < (right.rank(failedAt: nil)?.rawValue ?? .max)
    }
    guard let best, best.rank(failedAt: nil) != nil else { return nil }
    return ReadyMember(endpoint: best.endpoint, connection: best.connectionCount)
  }

  /// The member for `call`; nil if there is no connection for it.
  func subchannel(for call: Call) -> Subchannel? {
    if !hasTurned {
      hasTurned = true
      turn = (turn + 1) % subchannels.count
    }
    var best: Subchannel?
    var least = Subchannel.Rank.unusable
    for step in subchannels.indices {
      let subchannel = subchannels[(turn + step) % subchannels.count]
      // The member may have died of this call. If there is one endpoint only, it may be the address of several members.
      if hasChoice && subchannel.endpoint == call.retry.lostAt { continue }
      guard let rank = subchannel.rank(failedAt: call.failedAt) else { continue }
      if rank == .none { return subchannel }
      if best == nil || rank < least { (best, least) = (subchannel, rank) }
    }
    return best
  }

  /// The stream of `call` at `subchannel` has ended. The call is repeated if it may be; otherwise its delegate is
  /// notified.
  func ended(_ call: Call, at subchannel: Subchannel, _ status: GRPCStatus, isUnexecuted: Bool) {
    count(call, status.code, at: subchannel)
    // A call of the connection's own, such as that of a ``LeaderProbe``.
    guard call.slot >= 0 else { return call.delegate.call(call, endedWith: status) }
    if let batch = call.batch {
      drop(call)
      return batch.ended(at: subchannel, status, isUnexecuted: isUnexecuted)
    }
    if call.delegate === abandonedCalls {
      drop(call)
      return abandonedCalls.call(call, endedWith: status)
    }
    if status.isOfNoUse && (call.requiresLeader || status.isRefusalOfLearner) { subchannel.isOfNoUse() }
    let decision = status.isOK ? .over : decision(on: call, at: subchannel, status, isUnexecuted: isUnexecuted)
    if decision != .over, !isClosed {
      repeats &+= 1
      enter(.waiting, call)
      call.failedAt = ObjectIdentifier(subchannel)
      return begin(call, afterPause: decision == .againAfterPause)
    }
    // A member's clock may be the first to see that the deadline has passed. Older members answer so; newer versions of
    // grpc-go (etcd 3.5.30) only reset the stream.
    let isLate = status.code == .canceled && status.origin == .client && loop.now + Self.tick >= call.deadline
    let isLost = status.isLoss && !isUnexecuted
    let status = isLate ? Self.isLate(call) : isLost ? status.explained(for: call) : status
    if call.hasFreshToken && status.isOfUnknownToken { call.failedAt = ObjectIdentifier(subchannel) }
    if owner?.channel(self, takesBack: call, after: status) == true { return }
    drop(call)
    call.delegate.call(call, endedWith: status)
  }

  private func decision(
    on call: Call, at subchannel: Subchannel, _ status: GRPCStatus, isUnexecuted: Bool
  ) -> RetryPolicy.Decision {
    let ending = RetryPolicy.Ending(
      status: status, isUnexecuted: isUnexecuted, hasAnswered: call.hasReceivedMessage, endpoint: subchannel.endpoint)
    return call.retry.ended(
      ending, isRepeatable: call.method.isRepeatable, requiresLeader: call.requiresLeader, members: subchannels.count)
  }

  private static func isLate(_ call: Call, reason: String = "") -> GRPCStatus {
    GRPCStatus(.deadlineExceeded, "etcd did not answer within \(call.timeout ?? 0) ms\(reason)")
  }

  /// Whether all endpoints have refused connections since the call came, and the call does not wait for a change. A
  /// call that has lost its member waits, as members are started again. So does a stream, as its owner starts it again
  /// by itself.
  private func waitsInVain(_ call: Call) -> Bool {
    guard !configuration.waitsForReady, !call.waitsForReady, call.retry.attempts == 0, !call.method.isStream else {
      return false
    }
    let arrival = call.patience - min(call.patience, configuration.dialTimeout)
    return subchannels.count { $0.hasRefused(since: arrival) } == subchannels.count
  }

  private func lookAtDeadlines() {
    let now = loop.now
    // Backwards, as the current call may be removed, and the last one take its place.
    for index in watched.calls.indices.reversed() where index < watched.calls.count {
      let call = watched.calls[index]
      if now >= call.deadline {
        let reason = call.phase == .waiting && subchannel(for: call) == nil ? ": \(trouble)" : ""
        let status = Self.isLate(call, reason: reason)
        giveUp(call, with: status)
      } else if call.phase == .waiting {
        if now >= call.notBefore { submit(call) }
        if call.phase == .waiting && (now >= call.patience || waitsInVain(call)) {
          end(call, with: GRPCStatus(.unavailable, trouble))
        }
      } else if call.isUntaken {
        if now >= call.patience { giveUpUntaken(call) }
      } else if call.deadline == .max {
        enter(call.phase, call)
      }
    }
    if watched.isEmpty {
      isTicking = false
      deadlines.stop()
    }
  }

  /// How many calls are under way, those that wait included.
  var callCount: Int { watched.calls.count + resting.calls.count }

  // MARK: - Members

  /// Whether there is more than one member.
  var hasChoice: Bool { subchannels.count > 1 }

  /// Why there is no connection.
  private var trouble: String { "no connection to etcd: " + subchannels.map(\.trouble).joined(separator: "; ") }

  /// Whether another member is better for calls than `subchannel`.
  private func hasBetter(than subchannel: Subchannel) -> Bool {
    let rank = subchannel.rank(failedAt: nil) ?? .unusable
    return subchannels.contains { other in other.rank(failedAt: nil).map { $0 < rank } ?? false }
  }

  /// Replaces the members. Those that stay keep their connections. Those that are removed finish their calls, but their
  /// endless streams end.
  func update(_ endpoints: [Endpoint]) {
    guard !isClosed, !endpoints.isEmpty, endpoints != subchannels.map(\.endpoint) else { return }
    let hadChoice = hasChoice
    let gone = subchannels.filter { !endpoints.contains($0.endpoint) }
    subchannels = endpoints.map { endpoint in
      subchannels.first { $0.endpoint == endpoint } ?? Subchannel(endpoint, channel: self, loop: loop)
    }
    if hasChoice && !hadChoice { for subchannel in subchannels { subchannel.watch() } }
    retired += gone
    for subchannel in gone {
      let calls = calls(at: subchannel).filter(\.requiresLeader)
      subchannel.retire()
      giveUp(
        calls, at: subchannel, GRPCStatus(.unavailable, "\(subchannel.endpoint.authority) is no longer an endpoint"))
    }
  }

  /// If there is a better member, gives up the calls that wait at `subchannel` and may be repeated elsewhere, and the
  /// streams whose owners continue them.
  func move(callsOf subchannel: Subchannel, after status: GRPCStatus) {
    guard hasChoice, hasBetter(than: subchannel) else { return }
    let calls = calls(at: subchannel).filter { call in
      call.retry.mayMove(
        after: status, isRepeatable: call.method.isRepeatable, isResumable: call.method.isResumable,
        hasAnswered: call.hasReceivedMessage)
    }
    giveUp(calls, at: subchannel, status)
  }

  /// Ends the streams of `calls` at a member. The calls that may be repeated are sent again.
  private func giveUp(_ calls: [Call], at subchannel: Subchannel, _ status: GRPCStatus) {
    // The end of one call may end others, or move them to another member.
    for call in calls where call.stream.connection?.subchannel === subchannel {
      let isUnexecuted = !call.stream.mayBeExecuted
      call.stream.connection?.reset(call)
      ended(call, at: subchannel, status, isUnexecuted: isUnexecuted)
    }
  }

  /// The member of `call` takes nothing of it: it has as many calls as it takes at a time, or reads nothing. Another
  /// member may have room.
  private func giveUpUntaken(_ call: Call) {
    guard let connection = call.stream.connection else { return }
    // The loop may have stood still since the connection got the call.
    connection.flush()
    guard call.isUntaken, call.stream.connection === connection else { return }
    let subchannel = connection.subchannel
    let status = GRPCStatus(
      .unavailable, "\(subchannel.endpoint.authority) takes no more calls for now: the call was not sent")
    if subchannels.contains(where: { $0 !== subchannel && $0.hasRoom }) {
      giveUp([call], at: subchannel, status)
    } else if let batch = call.batch {
      batch.giveUp(status)
    } else {
      giveUp(call, with: status)
    }
  }

  private func calls(at subchannel: Subchannel) -> [Call] {
    (watched.calls + resting.calls).filter { $0.stream.connection?.subchannel === subchannel }
  }

  func memberIsReady() {
    for call in watched.calls where call.phase == .waiting && call.notBefore <= loop.now { submit(call) }
  }

  /// A connection has ended, and with it the streams on it.
  func connectionEnded(_ connection: Connection, _ status: GRPCStatus) {
    for call in watched.calls + resting.calls where call.stream.connection === connection {
      call.stream.connection = nil
      let isUnexecuted = !call.stream.mayBeExecuted
      var status = status
      if isUnexecuted { status.origin = .client }
      ended(call, at: connection.subchannel, status, isUnexecuted: isUnexecuted)
    }
  }
}
