package import EventLoop
package import Logging

/// A member with a connection. A later connection to the same member is another value.
package struct ReadyMember: Equatable, Sendable {
  package let endpoint: Endpoint
  let connection: Int
}

/// One shard's way to etcd. It takes calls with their credentials, finds the token for each, and sends them. Unary
/// calls share one connection to each member and streams another, so that large answers do not delay the events of a
/// watch. Belongs to one loop.
package final class Bridge {
  /// The limits of a bridge.
  package struct Configuration: Sendable {
    package var channel = Channel.Configuration()
    /// How many users' tokens are kept.
    package var maxTokens = 10_000
    /// How often, in milliseconds, etcd is asked for its progress, for quiet watches.
    package var watchProgressInterval: UInt64 = 60_000
    /// How many watches a client may have on one stream.
    package var maxWatches = 1000
    /// How many bytes they may take: their requests, and ``WatchClient/watchBytes`` for each.
    package var maxWatchBytes = 4 << 20
    /// How long, in milliseconds, a stream of keepalives is kept without requests.
    package var leaseStreamIdle: UInt64 = 60_000
    /// Whether keepalives need a user, and clients' tokens are proven for them, if authentication is on: releases
    /// before 3.5.28 and 3.6.9 accept keepalives from anybody.
    package var keepalivesNeedUsers: Bool
    /// How many reads may go to etcd in one transaction; with 1 each goes as a call of its own.
    package var maxBatch = 1

    package init(keepalivesNeedUsers: Bool = false) { self.keepalivesNeedUsers = keepalivesNeedUsers }
  }

  let loop: EventLoop
  private var endpoints: [Endpoint]
  private let logger: Logger
  /// For unary calls.
  private let channel: Channel
  /// For streams; nil until there is one.
  private var streams: Channel?
  private let authenticator: Authenticator
  private let configuration: Configuration
  private let hasher = CredentialHasher()
  /// The watches of all clients.
  package private(set) lazy var watches = WatchHub(
    loop: loop, carrier: self, patience: configuration.channel.dialTimeout,
    progressInterval: configuration.watchProgressInterval, maxWatches: configuration.maxWatches,
    maxWatchBytes: configuration.maxWatchBytes, logger: logger)
  /// The keepalives of all clients.
  package private(set) lazy var leases = LeaseKeeper(
    loop: loop, bridge: self, idleLimit: configuration.leaseStreamIdle,
    needsUsers: configuration.keepalivesNeedUsers)
  private let batcher: ReadBatcher?
  private lazy var anonymousGate = AnonymousGate(loop: loop, bridge: self)
  private var tokens: [CredentialKey: Token] = [:]
  private var tokenCounts = TokenCounts()
  private var loggingIn: [CredentialKey: HeldCalls] = [:]
  /// Calls do not keep their delegates alive, so these are kept here.
  private var questions: [ObjectIdentifier: QueueQuestion] = [:]
  /// The keys by which calls of the process wait in queues.
  var queueKeys: QueueKeys { authenticator.queueKeys }
  var now: UInt64 { loop.now }
  /// Until when etcd is known to accept calls without credentials, and calls with the token that it accepted last.
  private var trustEnd: (none: UInt64, token: UInt64) = (0, 0)
  private var trustedToken: Token?
  /// How long a call proves that, in milliseconds.
  private static let trust: UInt64 = 5000

  /// Makes a bridge and begins to connect. Streams get their connection when the first one is started.
  package init(
    loop: EventLoop, endpoints: [Endpoint], authenticator: Authenticator, configuration: Configuration, logger: Logger
  ) {
    self.loop = loop
    self.authenticator = authenticator
    self.configuration = configuration
    self.endpoints = endpoints
    self.logger = logger
    channel = Channel(loop: loop, endpoints: endpoints, configuration: configuration.channel, logger: logger)
    batcher = configuration.maxBatch > 1 ? ReadBatcher(channel: channel, maxBatch: configuration.maxBatch) : nil
    channel.owner = self
    channel.batcher = batcher
  }

  /// How many reads have shared a transaction.
  var batchCounts: BatchCounts { batcher?.counts ?? BatchCounts() }

  /// The key under which the bridge knows `userPass`, a user name, a colon and a password.
  package func key(for userPass: UnsafeRawBufferPointer) -> CredentialKey { hasher.key(for: userPass) }

  package func key(for credentials: BasicCredentials) -> CredentialKey {
    Array("\(credentials.user):\(credentials.password)".utf8).withUnsafeBytes { key(for: $0) }
  }

  /// Returns credentials that are kept in memory.
  ///
  /// - Parameter areOwn: whether they are this process's own, whose logins are never delayed.
  package func keep(_ credentials: BasicCredentials, areOwn: Bool = false) -> UserCredentials {
    UserCredentials(key(for: credentials), from: KeptPassword(credentials), areOwn: areOwn)
  }

  /// A member with a connection; nil if there is no connection.
  package var readyMember: ReadyMember? { channel.readyMember }

  /// Whether etcd has accepted a call with these credentials a moment ago.
  package func trusts(_ credentials: CallCredentials) -> Bool {
    switch credentials {
    case .none: loop.now < trustEnd.none
    case .token(let token): loop.now < trustEnd.token && token == trustedToken
    case .user(let user): tokens[user.key] != nil
    }
  }

  /// etcd has accepted a call with these credentials.
  package func trust(_ credentials: CallCredentials) {
    switch credentials {
    case .none: trustEnd.none = loop.now + Self.trust
    case .token(let token): (trustedToken, trustEnd.token) = (token, loop.now + Self.trust)
    case .user: break
    }
  }

  /// Starts `call` and notifies its delegate of all that follows. The caller keeps the delegate alive until the call
  /// ends or the caller cancels it.
  package func start(_ call: Call, for caller: Caller) { start(call, for: caller, insteadOf: nil) }

  /// Starts `call` with another token than `refused` had, an earlier stream of the same user: etcd has refused that
  /// token after the stream had been of use. If etcd refuses a token at once, the bridge renews it by itself.
  package func start(_ call: Call, for caller: Caller, insteadOf refused: Call?) {
    // An etcd that requires no credentials cleans its queues up by itself.
    if call.method.queue != nil, caller.isSomebody || call.ticket != nil, channel.hold(call),
      let place = QueuePlace(of: call, for: caller, bridge: self)
    {
      call.place = place
      return place.prepare()
    }
    forward(call, for: caller, insteadOf: refused)
  }

  func forward(_ call: Call, for caller: Caller, insteadOf refused: Call? = nil) {
    call.caller = caller
    switch caller.credentials {
    case .none:
      send(call)
    case .token(let token):
      call.token = token
      send(call)
    case .user(let user):
      if let token = tokens[user.key], token !== refused?.token {
        tokenCounts.known &+= 1
        call.token = token
        send(call)
      } else {
        tokens[user.key] = nil
        tokenCounts.awaited &+= 1
        logIn(call, user, stale: refused?.token)
      }
    }
  }

  /// Sends `call`, which has its token, if it needs one. etcd may first be asked whether it needs one, or knows it.
  private func send(_ call: Call) {
    if isDoubtful(call) { anonymousGate.admit(call) } else { forward(call) }
  }

  /// Whether etcd may execute `call` though it should not.
  private func isDoubtful(_ call: Call) -> Bool {
    let need = call.method.userNeed
    guard need != .none else { return false }
    if need == .proven && call.clientToken != nil { return true }
    return call.token?.isEmpty != false && need.holds(for: call.message)
  }

  /// Whether a stream may have further requests without another question.
  func admits(_ call: Call) -> Bool {
    if case .lasting = call.admission { true } else { anonymousGate.admits(call) }
  }

  /// Asks etcd whether authentication is on, and passes on the status of an ``AccessQuestion`` without credentials. If
  /// it is off, ``admits(_:)`` is true for a while.
  func askForUsers(answer: @escaping (GRPCStatus) -> Void) { anonymousGate.ask(answer: answer) }

  /// Sends `call` at once, or in a batch at the end of the turn.
  func forward(_ call: Call) {
    if call.method.isRange, let batcher, batcher.take(call) { return }
    channel(for: call).send(call)
  }

  /// Watches over the deadline of `call` while it waits for something else.
  func hold(_ call: Call) -> Bool { channel(for: call).hold(call) }

  /// Ends `call`, or logs its user in if the user needed no token before and needs one now.
  func refuse(_ call: Call, _ status: GRPCStatus) {
    let channel = channel(for: call)
    if !self.channel(channel, takesBack: call, after: status) { channel.end(call, with: status) }
  }

  private func channel(for call: Call) -> Channel {
    // A closed channel ends every call that it gets: no other channel is made for that.
    guard call.method.isStream, !channel.isClosed else { return channel }
    if let streams { return streams }
    var logger = logger
    logger[metadataKey: "connection"] = "streams"
    let streams = Channel(loop: loop, endpoints: endpoints, configuration: configuration.channel, logger: logger)
    streams.owner = self
    self.streams = streams
    return streams
  }

  /// Starts `call`, a client's own `Authenticate`, over the authenticator's connection and within its limits, so that
  /// clients cannot circumvent these.
  ///
  /// - Parameter peer: where the call came from.
  package func startLogin(_ call: Call, from peer: Peer) {
    guard channel.hold(call) else { return }
    let shard = LoopBound((bridge: self, call: call), loop: loop)
    authenticator.authenticate(
      Array(call.message.frame.dropFirst(CallMessage.headroom)), peer: peer
    ) {
      [remote = loop.remote] result in
      remote.execute { shard.value.bridge.answered(shard.value.call, result) }
    }
  }

  private func answered(_ call: Call, _ result: Result<[UInt8], GRPCStatus>) {
    // The call may have ended in the meantime, by its deadline or because its client has disconnected.
    guard call.phase == .loggingIn else { return }
    switch result {
    case .success(let message):
      // The delegate may cancel the call each time.
      call.delegate.call(call, willReceive: message.count)
      guard call.phase == .loggingIn else { return }
      message.withUnsafeBytes { call.delegate.call(call, received: $0) }
      guard call.phase == .loggingIn else { return }
      call.delegate.callReceivedMessage(call)
      channel.end(call, with: GRPCStatus(.ok, origin: .server))
    case .failure(let status):
      channel.end(call, with: status)
    }
  }

  /// Sends another message of a stream, after those before it. Messages wait in memory until the stream is on the wire,
  /// and while etcd takes nothing. After the end of the call, or of its messages, nothing is sent.
  package func send(_ message: consuming CallMessage, on call: Call) { channel(for: call).send(message, on: call) }

  /// Ends the messages of a stream (gRPC over HTTP/2, "EOS"). Its answers continue.
  package func finishSending(_ call: Call) { channel(for: call).finishSending(call) }

  /// Ends `call`, at etcd too, without notifying its delegate.
  package func cancel(_ call: Call) { channel(for: call).cancel(call) }

  /// Ends `call` as its deadline would: its delegate is notified of `status` once nothing of the call is left at etcd.
  package func giveUp(_ call: Call, with status: GRPCStatus) { channel(for: call).giveUp(call, with: status) }

  /// Gives up calls that have waited in one of etcd's queues for `wait` milliseconds, and removes them from it.
  package func giveUpWaiting(after wait: UInt64, with status: GRPCStatus) {
    channel.giveUpWaiting(after: wait, with: status)
  }

  /// Whether calls of the bridge's own are under way that prepare or undo something at etcd, perhaps for clients that
  /// have disconnected.
  package var hasQuestions: Bool { !questions.isEmpty }

  /// Keeps a call that has ended at etcd, for up to `patience` milliseconds, before its delegate is notified.
  func hold(_ call: Call, for patience: UInt64) -> Bool {
    call.deadline = loop.now + patience
    return channel.hold(call)
  }

  /// Ends a call that is held.
  func end(_ call: Call, with status: GRPCStatus) { channel.end(call, with: status) }

  /// Makes a call on behalf of another one.
  func ask(_ question: QueueQuestion, for caller: Caller) {
    questions[ObjectIdentifier(question)] = question
    question.onEnd = { [unowned self, unowned question] in questions[ObjectIdentifier(question)] = nil }
    forward(question.call, for: caller)
  }

  /// Holds back the rest of a response if the client reads too slowly: etcd sends up to 1 MiB more of it, which is
  /// passed on.
  package func pause(_ call: Call) { channel(for: call).pause(call) }

  /// Reverts ``pause(_:)``.
  package func resume(_ call: Call) { channel(for: call).resume(call) }

  /// Writes the frames of this turn of the loop. To be called once a turn, before the loop waits.
  package func flush() {
    // If a connection turns out to be lost, a delegate may start something on the other one.
    repeat {
      leases.flush()
      batcher?.flush()
      channel.flush()
      streams?.flush()
    } while channel.needsFlush || streams?.needsFlush == true || leases.needsFlush || batcher?.needsFlush == true
  }

  /// Replaces the set of members. Calls under way finish where they are; streams without an end continue elsewhere.
  package func update(_ endpoints: [Endpoint]) {
    self.endpoints = endpoints
    channel.update(endpoints)
    streams?.update(endpoints)
  }

  /// Ends all calls with an error, and the connections.
  package func close() {
    watches.close(Channel.closed)
    leases.close()
    channel.close()
    streams?.close()
  }

  private func logIn(_ call: Call, _ user: UserCredentials, stale: Token?) {
    guard channel(for: call).hold(call) else { return }
    let key = user.key
    if loggingIn[key] != nil {
      loggingIn[key]?.append(call)
      return
    }
    guard let credentials = user.source.basicCredentials else {
      let status = GRPCStatus(.canceled, "the request that has the user and password of this call has ended")
      return channel(for: call).end(call, with: status)
    }
    loggingIn[key] = HeldCalls(call)
    let shard = LoopBound(self, loop: loop)
    let login = LoginRequest(
      key: key, credentials: credentials, stale: stale, peer: call.caller.peer, isOwn: user.areOwn)
    authenticator.login(login) { [remote = loop.remote] result in
      remote.execute { shard.value.loggedIn(key, result) }
    }
  }

  private func loggedIn(_ key: CredentialKey, _ result: Result<(token: Token, isFresh: Bool), GRPCStatus>) {
    if case .success((let token, _)) = result {
      // Any token may go to make room: its user is logged in again when it is needed.
      if tokens.count >= configuration.maxTokens, let victim = tokens.keys.first { tokens[victim] = nil }
      tokens[key] = token
    }
    var waiting = loggingIn.removeValue(forKey: key) ?? HeldCalls()
    for call in waiting.takeAll() where call.isHeld {
      switch result {
      case .success((let token, let isFresh)):
        call.token = token
        call.hasFreshToken = isFresh && call.renewals > 0
        send(call)
      case .failure(let status):
        channel(for: call).end(call, with: status)
      }
    }
  }
}

extension Bridge {
  /// The bridge's counters.
  package var sample: BridgeSample {
    var sample = BridgeSample()
    sample.channels = [("calls", channel.sample)]
    if let streams { sample.channels.append(("streams", streams.sample)) }
    sample.users = tokenCounts
    sample.batches = batchCounts
    sample.watchCounts = watches.counts
    (sample.watches, sample.watchers) = watches.sizes
    sample.leaseStreams = leases.streamCount
    sample.keepalives = leases.answerCount
    return sample
  }
}

extension Bridge: WatchCarrier {}

extension Bridge: ChannelOwner {
  package func channel(_ channel: Channel, takesBack call: Call, after status: GRPCStatus) -> Bool {
    if status.isOK {
      if call.method.changesUsers {
        authenticator.usersHaveChanged()
        anonymousGate.shut()
      }
      call.place?.isGranted()
      return false
    }
    if renews(call, after: status) { return true }
    return call.place?.giveUp(after: status) ?? false
  }

  /// If a token is so new that the member does not know it, sends the call again: after a pause, and at another member
  /// if there is one. A member knows a token once it has applied the login; one that has been away is behind.
  private func awaitsToken(_ call: Call, after status: GRPCStatus) -> Bool {
    guard status.isOfUnknownToken, call.freshRefusals < Call.maxFreshRefusals else { return false }
    call.freshRefusals += 1
    channel(for: call).sendAfterPause(call)
    return true
  }

  /// If etcd no longer accepts the call's token, sends the call again with another one.
  private func renews(_ call: Call, after status: GRPCStatus) -> Bool {
    guard case .user(let user) = call.caller.credentials, status.asksForNewToken, !call.hasReceivedMessage else {
      return false
    }
    if let place = call.place {
      // Its key is already in the queue, or is not: sending the call again adds no second one.
      guard place.isWaiting else { return false }
      if place.hasOutlivedToken { (call.renewals, call.freshRefusals, call.hasFreshToken) = (0, 0, false) }
    }
    if call.hasFreshToken { return awaitsToken(call, after: status) }
    guard call.renewals < Call.maxRenewals else { return false }
    // A token from another shard's login may be stale as well: only a fresh one proves that the token is not at fault.
    call.renewals += 1
    tokenCounts.renewed &+= 1
    let stale = call.token
    if let current = tokens[user.key], current !== stale {
      call.token = current
      send(call)
    } else {
      tokens[user.key] = nil
      logIn(call, user, stale: stale)
    }
    return true
  }
}
