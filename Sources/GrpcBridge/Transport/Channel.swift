package import EventLoop
package import Logging

/// What a channel asks of its owner.
package protocol ChannelOwner: AnyObject {
  /// Offers the owner a call that ended with `status`, before its delegate hears of it. The owner answers true if it
  /// sees to the call itself, by holding it or sending it again.
  func channel(_ channel: Channel, takesBack call: Call, after status: GRPCStatus) -> Bool
}

/// Calls to the members of a cluster, in turn to those that are of use: keeps calls waiting for a connection, watches
/// their deadlines, and repeats those that may be repeated, at another member if there is one. Belongs to one loop.
package final class Channel {
  /// The limits of a channel, in milliseconds, and the security of its connections.
  package struct Configuration: Sendable {
    /// How long a connection may take to become ready, and how long a call waits for one, or for the member that has it
    /// to take anything of it.
    package var dialTimeout: UInt64 = 2000
    /// How long nothing may come from a member that has streams, but owes no answer, before it is asked for a sign of
    /// life. etcd ends connections that are asked more often than every 5 s (`--grpc-keepalive-min-time`).
    package var keepaliveTime: UInt64 = 10_000
    /// How long the sign of life may take before the connection is given up.
    package var keepaliveTimeout: UInt64 = 5000
    /// How long a member may leave calls without a single byte before it is asked for a sign of life; after as long
    /// again further ones go to others, and repeatable ones that wait there, too.
    package var suspectAfter: UInt64 = 1000
    /// Whether calls that have not been sent wait for a connection though every member refuses one (gRPC
    /// documentation, "Wait for Ready"); else they end with *unavailable* at once.
    package var waitsForReady = true
    /// The waits between attempts to connect to a member.
    package var backoff = Backoff.connection
    /// For endpoints that are spoken to in TLS; nil if it is not configured: then only those that ask for it are.
    package var tls: ClientTLS?

    package init(dialTimeout: UInt64 = 2000) { self.dialTimeout = dialTimeout }
  }

  /// How often deadlines are looked at, in milliseconds, while there are calls. etcd watches each deadline itself and
  /// more exactly: this one is for a member that does not answer.
  private static let tick: UInt64 = 25
  /// How far apart the attempts of a call are (clientv3's retry policy: 25 ms, give or take 10 %).
  private static let retryWait = 23...27

  package weak var owner: (any ChannelOwner)?
  /// What has reads travel together; nil if they do not.
  var batcher: ReadBatcher?
  let readBuffer: UnsafeMutableRawBufferPointer
  let loop: EventLoop
  let configuration: Configuration
  let logger: Logger
  private(set) var subchannels: [Subchannel] = []
  /// Members that are none any more, with calls still under way.
  private(set) var retired: [Subchannel] = []
  /// Whose turn it is: all calls of one turn of the loop go to the same member, so that they leave in one write.
  private var turn = 0
  private var hasTurned = false
  /// The calls that wait, or that have a deadline: the clock runs while there are any.
  private var watched = CallList()
  /// The others: those on the wire, or at a login, for as long as it takes.
  private var resting = CallList()
  /// Those whose makers have lost interest.
  private lazy var abandonedCalls = AbandonedCalls(channel: self)
  /// What calls to each member have come to.
  var counts: [Endpoint: CallCounts] = [:]
  /// Those of members that there is no place for among them.
  let otherCounts = CallCounts()
  /// How many calls were sent again, and how many ended without having been sent.
  private(set) var repeats: UInt64 = 0
  private(set) var unsent: UInt64 = 0
  private(set) var isClosed = false
  /// Whether the clock runs.
  private(set) var isTicking = false
  private lazy var deadlines = LoopTimer(loop: loop) { [unowned self] in lookAtDeadlines() }

  /// Makes a channel and begins to connect to all members.
  package init(loop: EventLoop, endpoints: [Endpoint], configuration: Configuration, logger: Logger) {
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
  package func send(_ call: Call) {
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

  /// Has a call that waits be sent.
  private func begin(_ call: Call, afterPause: Bool) {
    call.notBefore = afterPause ? loop.now + UInt64(Int.random(in: Self.retryWait)) : 0
    call.patience = loop.now + configuration.dialTimeout
    if !afterPause { submit(call) }
  }

  /// Watches over the deadline of `call` while its owner prepares it.
  ///
  /// - Returns: whether the channel takes calls; a closed one has ended this one.
  func hold(_ call: Call) -> Bool {
    take(call, as: .loggingIn)
  }

  /// The same for a read that may go with others at the end of the turn.
  func gather(_ call: Call) -> Bool { take(call, as: .travelling) }

  /// Sends what reads travel in.
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

  /// Sends another message of a stream that has not ended.
  func send(_ message: consuming CallMessage, on call: Call) {
    guard call.slot >= 0, let requests = call.requests, !requests.isFinished else { return }
    if call.hasReceivedMessage { requests.release(upTo: call.stream.bytesTaken) }
    requests.append(message)
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
    guard call.slot >= 0, !leave(call) else { return }
    count(call, .canceled)
    reset(call)
  }

  /// Ends `call` from this side and tells its delegate.
  package func end(_ call: Call, with status: GRPCStatus) {
    guard call.slot >= 0 else { return }
    let delegate = call.delegate
    if call.retry.attempts == 0 && !status.isOK { unsent &+= 1 }
    if !leave(call) {
      count(call, status.code)
      reset(call)
    }
    delegate.call(call, endedWith: status)
  }

  /// Ends `call` from this side; where it waits in a queue it leaves that before its delegate hears of it.
  func giveUp(_ call: Call, with status: GRPCStatus) {
    guard call.slot >= 0 else { return }
    if call.place != nil {
      count(call, status.code)
      call.stream.connection?.reset(call)
      if owner?.channel(self, takesBack: call, after: status) == true { return }
    }
    end(call, with: status)
  }

  /// Gives up calls that have waited in a queue of etcd's for `wait` milliseconds since they were sent.
  func giveUpWaiting(after wait: UInt64, with status: GRPCStatus) {
    let latest = preciseTime - min(preciseTime, wait * 1_000_000)
    for call in watched.calls + resting.calls
    where call.method.queue != nil && call.phase == .sent && call.sentAt <= latest { giveUp(call, with: status) }
  }

  func reset(_ call: Call) {
    call.stream.connection?.reset(call)
    drop(call)
  }

  /// Lets a call that etcd must not see cancelled run to its end without its maker.
  ///
  /// - Returns: whether the call is such a one, now or since earlier.
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

  /// Stops giving the window of a call's stream back: the member sends at most a window more.
  package func pause(_ call: Call) { call.stream.isPaused = true }

  /// Takes ``pause(_:)`` back.
  package func resume(_ call: Call) {
    guard call.stream.isPaused else { return }
    if let connection = call.stream.connection { connection.resume(call) } else { call.stream.isPaused = false }
  }

  /// Sends what this turn of the loop has made. To be called once a turn, before the loop waits.
  package func flush() {
    hasTurned = false
    for subchannel in subchannels { subchannel.flush() }
    guard !retired.isEmpty else { return }
    for subchannel in retired { subchannel.flush() }
    retired.removeAll { !$0.isDraining }
  }

  /// Whether ``flush()`` has anything to do.
  package var needsFlush: Bool { subchannels.contains { $0.needsFlush } || retired.contains { $0.needsFlush } }

  /// Ends all calls and all connections, for good.
  package func close() {
    isClosed = true
    for call in watched.calls + resting.calls { end(call, with: Self.closed) }
    deadlines.stop()
    for subchannel in subchannels + retired { subchannel.close() }
  }

  static let closed = GRPCStatus(.unavailable, "the gateway is shutting down")

  private static let tooManyAbandonedCalls = GRPCStatus(
    .resourceExhausted, "too many transactions are under way of clients at this address that have disconnected",
    origin: .throttled(retryAfter: 1))

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
    call.place?.abandon()
    if let batch = call.batch {
      call.batch = nil
      batch.isLeft(by: call)
    }
  }

  /// Moves `call` to another phase, and to the list it then belongs to.
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
      // Stream numbers are used up or the peer has said goodbye: the next connection takes the call.
      logger.debug("the connection takes no more calls", metadata: ["reason": "\(error)"])
      connection.leave()
    }
  }

  /// A member that calls go to; nil if there is no connection.
  var readyMember: ReadyMember? {
    let best = subchannels.min { left, right in
      (left.rank(failedAt: nil)?.rawValue ?? .max) < (right.rank(failedAt: nil)?.rawValue ?? .max)
    }
    guard let best, best.rank(failedAt: nil) != nil else { return nil }
    return ReadyMember(endpoint: best.endpoint, connection: best.connectionCount)
  }

  /// The member that a call goes to; nil if there is no connection.
  func subchannel(for call: Call) -> Subchannel? {
    if !hasTurned {
      hasTurned = true
      turn = (turn + 1) % subchannels.count
    }
    var best: Subchannel?
    var least = Subchannel.Rank.unusable
    for step in subchannels.indices {
      let subchannel = subchannels[(turn + step) % subchannels.count]
      // The member may have died of it. An endpoint that is all there is may be the address of several.
      if hasChoice && subchannel.endpoint == call.retry.lostAt { continue }
      guard let rank = subchannel.rank(failedAt: call.failedAt) else { continue }
      if rank == .none { return subchannel }
      if best == nil || rank < least { (best, least) = (subchannel, rank) }
    }
    return best
  }

  /// A call's stream at `member` has ended. The call goes on where it may be repeated, else its delegate hears of it.
  func ended(_ call: Call, at subchannel: Subchannel, _ status: GRPCStatus, isUnexecuted: Bool) {
    count(call, status.code, at: subchannel)
    // One that a member sends for itself.
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
    // A member's clock may be the first to see that the time is over. Older ones answer so; with newer versions of
    // grpc-go (etcd 3.5.30) they just reset the stream.
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

  /// Whether all endpoints have refused connections since the call has come, and it does not wait for that to change.
  /// One that has lost its member does, as members are started again; so do streams, whose owners begin them anew by
  /// themselves.
  private func waitsInVain(_ call: Call) -> Bool {
    guard !configuration.waitsForReady, !call.waitsForReady, call.retry.attempts == 0, !call.method.isStream else {
      return false
    }
    let arrival = call.patience - min(call.patience, configuration.dialTimeout)
    return subchannels.count { $0.hasRefused(since: arrival) } == subchannels.count
  }

  private func lookAtDeadlines() {
    let now = loop.now
    // Backwards, as the call at hand may go and the last one take its place.
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

  /// How many calls are under way, those that wait for something included.
  var callCount: Int { watched.calls.count + resting.calls.count }

  // MARK: - Members

  /// Whether there is more than one member.
  var hasChoice: Bool { subchannels.count > 1 }

  /// Why there is no connection.
  private var trouble: String { "no connection to etcd: " + subchannels.map(\.trouble).joined(separator: "; ") }

  /// Whether another member would rather be asked than `member`.
  private func hasBetter(than subchannel: Subchannel) -> Bool {
    let rank = subchannel.rank(failedAt: nil) ?? .unusable
    return subchannels.contains { other in other.rank(failedAt: nil).map { $0 < rank } ?? false }
  }

  /// Takes other members in place of those it has. Those that stay keep their connections; at those that go, calls
  /// under way are finished, and streams without an end are ended.
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

  /// Sends calls that wait at `member` and may be repeated elsewhere, if there is better; ends those whose owners do
  /// so.
  func move(callsOf subchannel: Subchannel, after status: GRPCStatus) {
    guard hasChoice, hasBetter(than: subchannel) else { return }
    let calls = calls(at: subchannel).filter { call in
      call.retry.mayMove(
        after: status, isRepeatable: call.method.isRepeatable, isResumable: call.method.isResumable,
        hasAnswered: call.hasReceivedMessage)
    }
    giveUp(calls, at: subchannel, status)
  }

  /// Ends the streams of calls at a member; the calls go on where they may be repeated.
  private func giveUp(_ calls: [Call], at subchannel: Subchannel, _ status: GRPCStatus) {
    // What becomes of one may take others along, to their end or to another member.
    for call in calls where call.stream.connection?.subchannel === subchannel {
      let isUnexecuted = !call.stream.mayBeExecuted
      call.stream.connection?.reset(call)
      ended(call, at: subchannel, status, isUnexecuted: isUnexecuted)
    }
  }

  /// A call's member takes nothing of it, as it has as many calls as it takes at a time, or reads nothing: another one
  /// may have room.
  private func giveUpUntaken(_ call: Call) {
    guard let connection = call.stream.connection else { return }
    // The loop itself may have stood still since the call was given to the connection.
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

  /// A connection has ended, and with it what was on it.
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
