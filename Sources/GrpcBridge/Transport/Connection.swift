import EventLoop
import TLS

/// One HTTP/2 connection to one etcd member, from the resolution of its name to its end. Belongs to a ``Subchannel``.
final class Connection {
  enum State {
    case connecting
    /// Connected; the TLS handshake is under way.
    case securing
    /// Connected; the peer's SETTINGS have yet to come, as the proof that it speaks HTTP/2.
    case greeting
    case ready
    /// The peer takes no new streams but finishes those that it has.
    case draining
    case closed
  }

  private(set) var state = State.connecting
  private(set) var session: HTTP2Session!
  private let loop: EventLoop
  // Invariant: the subchannel owns its connections until they are closed. Unsafe, as it is used often.
  unowned(unsafe) let subchannel: Subchannel
  /// Present while connecting.
  private var dialer: Dialer?
  /// Present after that.
  private var wire: ByteTransport?
  private var hasOutput = true
  /// The IDs of the streams that have further requests to send. Those that have ended since are ignored.
  private var resuming: [Int32] = []
  private var timer: LoopTimer?
  private var keepalive: ConnectionKeepalive!
  /// Measures how much the peer sends that carries nothing.
  private var emptyTraffic: EmptyTraffic
  /// Continues reading in another turn of the loop.
  private var comeBack: LoopTimer?
  /// Finds out whether reads may share a transaction at this member.
  private(set) lazy var transactions = TransactionProbe(connection: self, loop: loop)
  /// How many reads of 128 KiB one turn has at most.
  private static let maxReads = 16

  init(loop: EventLoop, subchannel: Subchannel) {
    self.loop = loop
    self.subchannel = subchannel
    emptyTraffic = EmptyTraffic(at: loop.now)
    session = HTTP2Session(
      connection: self, authority: endpoint.path == nil ? endpoint.authority : "localhost", isSecure: isSecure)
    keepalive = ConnectionKeepalive(connection: self, loop: loop, configuration: subchannel.channel.configuration)
  }

  private var endpoint: Endpoint { subchannel.endpoint }

  /// Whether the connection uses TLS.
  private var isSecure: Bool { endpoint.isSecure(withTLSConfigured: subchannel.channel.configuration.tls != nil) }

  /// Begins to connect.
  ///
  /// - Parameter timeout: the milliseconds within which the connection must be ready.
  func start(timeout: UInt64) {
    timer = LoopTimer(loop: loop) { [unowned self] in fail("\(delay) within \(timeout) ms") }
    timer?.start(after: timeout)
    if let connect = subchannel.channel.configuration.connect { return connected(connect(endpoint)) }
    dialer = Dialer(loop: loop, endpoint: endpoint) { [unowned self] result in
      switch result {
      case .success(let socket): secure(socket)
      case .failure(let failure): fail(failure.reason, isRefusal: failure.isRefusal)
      }
    }
    dialer?.start()
  }

  /// The step that has not ended in time.
  private var delay: String {
    switch state {
    case .connecting: dialer?.trouble ?? "no connection"
    case .securing: "no answer in TLS"
    default: "no HTTP/2 preface"
    }
  }

  private func secure(_ socket: StreamSocket) {
    dialer = nil
    guard isSecure else { return connected(socket) }
    do {
      let tls = try subchannel.channel.configuration.tls ?? ClientTLS.standard.get()
      connected(socket, tls: tls.session(over: socket.descriptor, to: endpoint))
    } catch {
      fail("\(error)")
    }
  }

  private func connected(_ stream: any ByteStream, tls: TLSSession? = nil) {
    wire = ByteTransport(stream, tls: tls)
    stream.onEvent = { [unowned self] in serve($0) }
    state = .securing
    shakeHands()
  }

  /// The security of the connection in words.
  var security: String { wire?.security ?? "none" }

  private func shakeHands() {
    switch wire?.handshake() {
    case .done:
      state = .greeting
      flush()
      // The peer's SETTINGS may have come together with the end of the handshake.
      receive()
    case .failed(let reason): fail(reason)
    case .underWay, nil: break
    }
  }

  private func serve(_ events: SocketEvents) {
    withExtendedLifetime(self) {
      if state == .securing { return shakeHands() }
      if events.contains(.writable) {
        hasOutput = true
        flush()
      }
      if events.contains(.readable) {
        receive()
        if wire?.writeNeedsReading == true { hasOutput = true }
      }
    }
  }

  /// Reads the bytes that have come.
  func receive() {
    guard state != .securing else { return }
    let buffer = subchannel.channel.readBuffer
    var rounds = 0
    while let wire {
      switch wire.read(into: buffer) {
      case .bytes(let count, let isAll):
        hasOutput = true
        keepalive.heard()
        rounds += 1
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        if state == .greeting, let foreign = ForeignGreeting(bytes) { return fail(foreign.rawValue) }
        emptyTraffic.received(count, at: loop.now)
        do {
          try session.receive(bytes)
        } catch {
          return fail("HTTP/2 error: \(error)")
        }
        // A callback may have ended the connection.
        guard state != .closed else { return }
        if !session.isSound && state != .draining { return dropForViolation() }
        guard !emptyTraffic.isTooMuch else { return fail(Self.flood) }
        keepalive.understood()
        if isAll { return closeIfFinished() }
        // The rest waits for another turn, so that a peer that sends without end does not delay others.
        if rounds == Self.maxReads { return receiveLater() }
      case .wouldBlock: return closeIfFinished()
      case .closed: return fail(closeReason)
      case .failed(let reason): return fail(reason)
      }
    }
  }

  private func receiveLater() {
    let timer = comeBack ?? LoopTimer(loop: loop) { [unowned self] in receive() }
    comeBack = timer
    timer.start(after: 0)
  }

  private var closeReason: String {
    // A server that expects TLS closes the connection, usually without an alert.
    state == .greeting && !isSecure
      ? "the peer closed the connection without an HTTP/2 preface; if it speaks TLS, use https://"
      : "the peer closed the connection"
  }

  /// Whether ``flush()`` has anything to do.
  var needsFlush: Bool { hasOutput && wire != nil && state != .securing }

  /// Sends all frames that are ready, in as few writes as the socket takes.
  func flush() {
    guard hasOutput, state != .securing, let wire else { return }
    hasOutput = false
    if !resuming.isEmpty {
      for id in resuming { session.resumeSending(onStream: id) }
      resuming.removeAll(keepingCapacity: true)
    }
    do {
      while true {
        while wire.queued < ByteTransport.goodSize, let bytes = try session.nextOutput() { wire.queue(bytes) }
        guard wire.queued > 0 else { break }
        try wire.send()
        if wire.queued > 0 {
          wire.watch()
          return closeIfFinished()
        }
      }
    } catch let error as ByteTransport.WriteError {
      // The peer's last bytes may give a better reason.
      receive()
      return fail(error.reason)
    } catch {
      return fail("\(error)")
    }
    wire.watch()
    closeIfFinished()
  }

  /// Closes the connection after a GOAWAY and the last call. A session that is finished before that has met a violation
  /// of the protocol.
  private func closeIfFinished() {
    guard state != .closed, session.isFinished else { return }
    fail(state == .draining && session.callCount == 0 ? "the peer went away" : Self.violation)
  }

  /// Ends the connection to a peer that has violated HTTP/2, with a GOAWAY that says why, if the peer takes it.
  private func dropForViolation() {
    var reason: String?
    while let wire, wire.queued < ByteTransport.goodSize, let bytes = try? session.nextOutput() {
      wire.queue(bytes)
      reason = HTTP2Session.reason(ofGoAway: bytes) ?? reason
    }
    try? wire?.send()
    fail(reason.map { "\(Self.violation): \($0)" } ?? Self.violation)
  }

  private static let violation = "the peer violated the HTTP/2 protocol"
  private static let flood = "the peer sends too many empty frames"

  /// Takes no new calls, and closes the connection after the last call that it has.
  func leave() {
    session.sayGoodbye()
    hasOutput = true
    receivedGoAway()
  }

  /// Ends the connection. Calls that are still on it get `reason`.
  ///
  /// - Parameter isRefusal: whether the endpoint refuses connections.
  func fail(_ reason: String, isRefusal: Bool = false) {
    guard state != .closed else { return }
    state = .closed
    timer = nil
    keepalive.stop()
    comeBack = nil
    dialer = nil
    wire = nil
    subchannel.connectionEnded(self, reason: reason, isRefusal: isRefusal)
  }

  /// Whether the peer owes an answer and has sent nothing for a while.
  var isSuspect: Bool { keepalive.isSuspect }

  /// The peer has become suspect.
  func hasBecomeSuspect() {
    subchannel.giveUpCalls(GRPCStatus(.unavailable, "\(endpoint.authority) is silent", origin: .lost))
  }

  /// Sends the peer a PING.
  func ping() {
    session.ping()
    hasOutput = true
  }

  // MARK: - Calls

  /// Sends `call` on a stream of its own.
  ///
  /// - Throws: ``HTTP2Error`` if the connection takes no more streams.
  func submit(_ call: Call) throws(HTTP2Error) {
    try session.submit(call)
    call.endpoint = endpoint
    call.sentAt = preciseTime
    emptyTraffic.called()
    hasOutput = true
    keepalive.asked()
  }

  func reset(_ call: Call) {
    session.reset(call)
    hasOutput = true
  }

  /// A call has further requests to send, or the end of its requests.
  func hasMoreToSend(_ call: Call) {
    guard call.stream.isDeferred else { return }
    call.stream.isDeferred = false
    resuming.append(call.stream.id)
    hasOutput = true
    keepalive.asked()
  }

  /// Opens the window of a call's stream again.
  func resume(_ call: Call) {
    call.stream.isPaused = false
    guard call.stream.unconsumed > 0 else { return }
    session.consume(call.stream.unconsumed, ofStream: call.stream.id)
    call.stream.unconsumed = 0
    hasOutput = true
  }

  // MARK: - Reports of the session

  func receivedSettings() {
    guard state == .greeting else { return }
    state = .ready
    timer = nil
    subchannel.connectionIsReady(self)
  }

  func receivedGoAway() {
    guard state == .ready || state == .greeting else { return }
    state = .draining
    timer = nil
    subchannel.connectionIsDraining(self)
  }

  /// Bytes of a call's messages are being sent.
  func carries(_ count: Int) { emptyTraffic.carried(count) }

  /// A stream is being reset.
  func cancels() { emptyTraffic.cancelled() }

  func received(_ bytes: UnsafeRawBufferPointer, for call: Call) {
    emptyTraffic.carried(bytes.count)
    if !call.stream.isPaused {
      session.consume(bytes.count, ofStream: call.stream.id)
    } else {
      call.stream.unconsumed += bytes.count
    }
    // The delegate does not get the body of an answer that is not gRPC; the call's status describes it.
    guard call.stream.carriesMessages else { return }
    var bytes = bytes
    while let event = call.stream.reader.next(&bytes) {
      switch event {
      case .begin(let length) where length > call.maxBytes:
        return refuse(call, "the message has \(length) bytes, more than the maximum of \(call.maxBytes)")
      case .begin(let length):
        if call.isSingleRead { subchannel.channel.batcher?.note(call, length: length) }
        call.delegate.call(call, willReceive: length)
      case .bytes(let bytes): call.delegate.call(call, received: bytes)
      case .end: call.delegate.callReceivedMessage(call)
      case .violation(let text): return refuse(call, text)
      }
      // The delegate may have cancelled the call.
      guard call.stream.connection === self else { return }
    }
  }

  /// Ends a call whose answer no gRPC server would send. Other calls continue.
  func refuse(_ call: Call, _ fault: String) {
    reset(call)
    subchannel.channel.ended(
      call, at: subchannel, GRPCStatus(.internal, "etcd sent an invalid answer: \(fault)"), isUnexecuted: false)
  }

  func streamClosed(of call: Call, code: UInt32) {
    subchannel.channel.ended(
      call, at: subchannel, call.stream.status(closedWith: code),
      isUnexecuted: call.stream.grpcStatus == nil && CallStream.isRefused(code))
  }
}
