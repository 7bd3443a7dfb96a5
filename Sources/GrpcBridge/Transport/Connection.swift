import EventLoop

/// One HTTP/2 connection to one etcd member, from the resolution of its name to its end. Belongs to a ``Member``.
final class Connection {
  enum State {
    case connecting
    /// Connected; the peer's SETTINGS are awaited as the proof that it speaks HTTP/2.
    case greeting
    case ready
    /// The peer takes no new streams but finishes those it has.
    case draining
    case closed
  }

  let endpoint: Endpoint
  private(set) var state = State.connecting
  private(set) var session: HTTP2Session!
  private let loop: EventLoop
  unowned let member: Member
  private var addresses: [SocketAddress] = []
  private var socket: StreamSocket?
  private var output = WriteBuffer()
  private var hasOutput = true
  /// The streams that have further requests to send, by their numbers: one that has gone in the meantime is not found.
  private var resuming: [Int32] = []
  private var timer: LoopTimer?
  private var keepalive: Keepalive!

  init(loop: EventLoop, endpoint: Endpoint, member: Member) {
    self.loop = loop
    self.endpoint = endpoint
    self.member = member
    session = HTTP2Session(connection: self, authority: endpoint.authority)
    keepalive = Keepalive(connection: self, loop: loop, configuration: member.channel.configuration)
  }

  /// Begins to connect.
  ///
  /// - Parameter timeout: how many milliseconds may pass before the connection is ready.
  func start(timeout: UInt64) {
    timer = LoopTimer(loop: loop) { [unowned self] in fail("no HTTP/2 greeting within \(timeout) ms") }
    timer?.start(after: timeout)
    if let address = SocketAddress(numericHost: endpoint.host, port: endpoint.port) {
      addresses = [address]
      connectToNextAddress(after: "no address")
    } else {
      loop.resolve(host: endpoint.host, port: endpoint.port) { [weak self] result in
        guard let self, state == .connecting else { return }
        switch result {
        case .success(let found):
          addresses = found.reversed()
          connectToNextAddress(after: "the name has no address")
        case .failure(let error):
          fail("the name does not resolve: \(error)")
        }
      }
    }
  }

  private func connectToNextAddress(after reason: String) {
    socket = nil
    guard let address = addresses.popLast() else { return fail(reason) }
    do {
      socket = try StreamSocket(loop: loop, connectingTo: address) { [unowned self] in serve($0) }
      socket?.watch(.writable)
    } catch {
      connectToNextAddress(after: error.description)
    }
  }

  private func serve(_ events: SocketEvents) {
    withExtendedLifetime(self) {
      if state == .connecting {
        if let error = socket?.connectError { return connectToNextAddress(after: error.description) }
        state = .greeting
        socket?.watch(.readable)
        return flush()
      }
      if events.contains(.writable) {
        hasOutput = true
        flush()
      }
      if events.contains(.readable) { receive() }
    }
  }

  /// Reads what has come.
  func receive() {
    let buffer = member.channel.readBuffer
    while let socket {
      switch socket.read(into: buffer) {
      case .bytes(let count):
        hasOutput = true
        keepalive.heard()
        do {
          try session.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        } catch {
          return fail("HTTP/2 error: \(error)")
        }
        if count < buffer.count { return closeIfFinished() }
      case .wouldBlock: return closeIfFinished()
      case .closed: return fail("the peer closed the connection")
      case .failed(let error): return fail("\(error)")
      }
    }
  }

  /// Whether ``flush()`` has anything to do.
  var needsFlush: Bool { hasOutput && state != .connecting && socket != nil }

  /// Sends what there is to send, in as few writes as the socket takes.
  func flush() {
    guard hasOutput, state != .connecting, let socket else { return }
    hasOutput = false
    if !resuming.isEmpty {
      for id in resuming { session.resumeSending(onStream: id) }
      resuming.removeAll(keepingCapacity: true)
    }
    do {
      while true {
        while output.count < WriteBuffer.goodSize, let bytes = try session.nextOutput() { output.append(bytes) }
        guard output.count > 0 else { break }
        try output.write(to: socket)
        if output.count > 0 { return socket.watch([.readable, .writable]) }
      }
    } catch {
      return fail("\(error)")
    }
    socket.watch(.readable)
    closeIfFinished()
  }

  private func closeIfFinished() {
    if state == .draining && session.isFinished { fail("the peer went away") }
  }

  /// Takes no new calls and closes after the last one that it has.
  func leave() {
    session.sayGoodbye()
    hasOutput = true
    receivedGoAway()
  }

  /// Ends the connection; calls that are still on it end with `reason`.
  func fail(_ reason: String) {
    guard state != .closed else { return }
    state = .closed
    timer = nil
    keepalive.stop()
    socket = nil
    member.connectionEnded(self, reason: reason)
  }

  /// Whether the peer owes an answer and has said nothing for a while.
  var isSuspect: Bool { keepalive.isSuspect }

  /// Takes notice that the peer has become suspect.
  func hasBecomeSuspect() {
    member.giveUpCalls(GrpcStatus(.unavailable, "\(endpoint.authority) is silent"))
  }

  /// Asks the peer for a sign of life.
  func ping() {
    session.ping()
    hasOutput = true
  }

  // MARK: - Calls

  /// Sends `call` on a stream of its own.
  ///
  /// - Throws: ``HTTP2Error`` where the connection takes no more streams.
  func submit(_ call: Call) throws(HTTP2Error) {
    try session.submit(call)
    call.endpoint = endpoint
    hasOutput = true
    keepalive.asked(hasChoice: member.channel.hasChoice)
  }

  func reset(_ call: Call) {
    session.reset(call)
    hasOutput = true
  }

  /// Takes notice of further requests of a call, or of their end.
  func hasMoreToSend(_ call: Call) {
    guard call.stream.isDeferred else { return }
    call.stream.isDeferred = false
    resuming.append(call.stream.id)
    hasOutput = true
    keepalive.asked(hasChoice: member.channel.hasChoice)
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
    member.connectionIsReady(self)
  }

  func receivedGoAway() {
    guard state == .ready || state == .greeting else { return }
    state = .draining
    timer = nil
    member.connectionIsDraining(self)
  }

  func received(_ bytes: UnsafeRawBufferPointer, for call: Call) {
    if !call.stream.isPaused {
      session.consume(bytes.count, ofStream: call.stream.id)
    } else {
      call.stream.unconsumed += bytes.count
    }
    // The body of an answer that is not gRPC is not for the delegate: its status says what there is to say.
    guard call.stream.carriesMessages else { return }
    var bytes = bytes
    while let event = call.stream.reader.next(&bytes) {
      switch event {
      case .begin(let length): call.delegate.call(call, willReceive: length)
      case .bytes(let bytes): call.delegate.call(call, received: bytes)
      case .end: call.delegate.callReceivedMessage(call)
      case .violation(let text):
        session.reset(call)
        return member.channel.ended(
          call, at: member, GrpcStatus(.internal, "broken answer of the upstream: \(text)"), isUnexecuted: false)
      }
      // The delegate may have cancelled the call.
      guard call.stream.connection === self else { return }
    }
  }

  func streamClosed(of call: Call, code: UInt32) {
    member.channel.ended(
      call, at: member, call.stream.status(closedWith: code),
      isUnexecuted: call.stream.grpcStatus == nil && CallStream.isRefused(code))
  }
}

/// Bytes on their way to a socket.
private struct WriteBuffer {
  /// As much as is gathered before it is written.
  static let goodSize = 65_536

  private var bytes: [UInt8] = []
  private var start = 0

  var count: Int { bytes.count - start }

  mutating func append(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }

  /// Writes as much as the socket takes.
  mutating func write(to socket: StreamSocket) throws {
    start += try bytes.withUnsafeBytes { try socket.write(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    if start == bytes.count {
      bytes.removeAll(keepingCapacity: true)
      start = 0
    } else if start >= Self.goodSize {
      bytes.removeSubrange(..<start)
      start = 0
    }
  }
}
