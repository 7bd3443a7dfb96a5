import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// A sink for answers that may be too large to be kept whole, one for each request: a WebSocket.
protocol MessageSink: StreamSink {
  /// Queues a part of a message; the first part begins it. No other message may be sent before it has ended.
  func send(part: consuming ByteBuffer, isFirst: Bool, isLast: Bool)
  /// The client has sent a valid request.
  ///
  /// - Returns: false if there is no place for the stream, and the WebSocket has ended for that reason.
  func requestWasGood() -> Bool
}

/// A stream, or unary calls one after another, over a WebSocket: a text message for each request and for each answer.
/// Belongs to its shard's loop.
///
/// The socket keeps it alive until it is closed.
final class WebSocketStream: MessageSink {
  private enum Awaited {
    /// Without a valid request the WebSocket is of no use.
    case firstRequest
    /// The rest of a frame or a message that has begun.
    case rest
  }

  private let route: RPCRoute
  private unowned let shard: Shard
  private let caller: Caller
  private let timeout: GRPCTimeout?
  private let isStrict: Bool
  let requestID: String
  private lazy var webSocket = WebSocketProtocol(
    maxMessageBytes: shard.settings.http.requestBytes, memory: shard.memory, delegate: self)
  private var socket: TakenOverConnection!
  private var place: OpenStreams.Place?
  /// Counts the stream until its end.
  private var record: StreamRecord?
  /// The session of the WebSocket, from the first valid request until it has ended.
  private var session: (any StreamSession)?
  /// The rest of a message with several requests.
  private var requests: RequestSequence?
  /// Counts the requests of such messages.
  private var turn: RequestTurn
  private var isTakingRequests = false
  /// The next message, which came during a call that waits for other clients, and its counted bytes.
  private var nextMessage: [UInt8]?
  private var keptNext: KeptBytes
  /// Counts the request of the call under way as kept for the client.
  private var kept: KeptBytes
  /// What the client has to send in time.
  private var awaited: Awaited?
  /// By when the first valid request has to come, whatever else comes; the time of calls under way does not count.
  private var firstRequestEnd = UInt64.max
  private var callStart: UInt64 = 0
  private var isReading = false
  /// Whether the client was sent a ping and has sent nothing since.
  private var isSilent = false
  /// Whether further parts of a message are to be sent.
  private var isInMessage = false
  /// Whether the stream has ended, whatever the client sends after that.
  private var isOver = false
  /// Whether the gateway is about to stop, and the client still waits for an answer, which it will get.
  private var isStopping = false

  /// - Parameters:
  ///   - timeout: the time limit of the stream, or of each unary call; nil for none.
  ///   - requestID: the ID of the request.
  init(
    _ route: RPCRoute, shard: Shard, caller: Caller, timeout: GRPCTimeout?, isStrict: Bool, requestID: String
  ) {
    self.requestID = requestID
    self.route = route
    self.shard = shard
    self.caller = caller
    self.timeout = timeout
    self.isStrict = isStrict
    turn = RequestTurn(on: shard.loop)
    kept = KeptBytes(shard.memory)
    keptNext = KeptBytes(shard.memory)
  }

  /// Takes its place among the open streams.
  ///
  /// - Throws: the error for the client if there is no place.
  func enter(_ streams: OpenStreams, heartbeat: UInt64?) throws(RequestError) {
    // Each unary call has a time limit of its own.
    let limit = route.kind == .unary ? nil : timeout?.milliseconds
    place = try streams.admit(self, heartbeat: heartbeat, timeout: limit, isNew: true)
  }

  /// Serves the client on `socket`.
  ///
  /// - Parameter record: counts the stream.
  func begin(_ socket: TakenOverConnection, _ record: StreamRecord) {
    self.socket = socket
    self.record = record
    firstRequestEnd = shard.now + idleLimit
    updateReading()
  }

  // MARK: - To the client

  var backlog: Int { socket.backlog }

  var takesRequests = true {
    didSet {
      guard takesRequests != oldValue else { return }
      if takesRequests {
        kept.release()
        firstRequestEnd += shard.now - callStart
      } else {
        callStart = shard.now
      }
      if takesRequests && isStopping { goAway() } else { updateReading() }
    }
  }

  /// Whether requests are taken: the session wants them, and the client takes the answers to earlier ones.
  private var wantsRequests: Bool { takesRequests && backlog <= shard.settings.streams.backlog }

  private var idleLimit: UInt64 { UInt64(shard.settings.http.idleTimeout) * 1000 }

  func requestWasGood() -> Bool {
    do throws(RequestError) {
      try place?.confirm()
      return true
    } catch {
      fail(GRPCStatus(error.grpcCode, error.message), .tryAgainLater)
      return false
    }
  }

  func send(_ frame: StreamFrame) {
    guard webSocket.isOpen else { return }
    socket.send(frame.messageHeader, of: frame.owner)
    socket.send(frame.json, of: frame.owner)
    record?.hasSentMessage(bytes: frame.json.count)
    updateReading()
  }

  func send(part: consuming ByteBuffer, isFirst: Bool, isLast: Bool) {
    guard webSocket.isOpen else { return }
    isInMessage = !isLast
    if isFirst { record?.hasSentMessage(bytes: part.count) } else { record?.hasSentPart(bytes: part.count) }
    var header = ByteBuffer()
    header.appendZeros(WebSocketHeader.maxBytes)
    let count = header.withUnsafeMutableBytes {
      WebSocketHeader.write(isFirst ? .text : .continuation, isFinal: isLast, count: part.count, to: $0)
    }
    header.truncate(to: count)
    for bytes in [SocketBytes(header), SocketBytes(part)] { socket.send(bytes.bytes, of: bytes) }
    updateReading()
  }

  func finish() { end(.normal) }

  func fail(_ status: GRPCStatus) {
    let (http, _) = status.httpStatus(hadCredentials: caller.isSomebody)
    switch http {
    case 401, 403: fail(status, .policyViolation)
    case 413: fail(status, .tooLarge)
    case 429, 503: fail(status, .tryAgainLater)
    default: fail(status, .internalError)
    }
  }

  private func fail(_ status: GRPCStatus, _ code: WebSocketCloseCode, within limit: UInt64? = nil) {
    isOver = true
    session?.cancel()
    // A message that has begun cannot be taken back: the client sees that it is incomplete.
    if !isInMessage { send(.error(status, hadCredentials: caller.isSomebody)) }
    record?.ends(status)
    end(code, status.message, within: limit)
  }

  private func goAway() { end(.goingAway, OpenStreams.stopping) }

  private func end(_ code: WebSocketCloseCode, _ reason: String = "", within limit: UInt64? = nil) {
    isOver = true
    record?.ends(GRPCStatus(code == .normal ? .ok : .unavailable, reason))
    webSocket.close(code, reason)
    leave()
    socket.finish(within: limit)
  }

  /// Releases everything that the stream has, and ends it at etcd.
  private func leave() {
    isOver = true
    record = nil
    session.take()?.cancel()
    requests = nil
    nextMessage = nil
    keptNext.release()
    kept.release()
    place = nil
  }

  // MARK: - From the client

  /// Reads while requests are taken and no received one is left. While a call waits for other clients, one message more
  /// is read: it may be a close frame, after which the client must not wait any longer.
  private func updateReading() {
    // The caller that is taking requests checks again after that.
    guard !isTakingRequests, !isOver else { return }
    takeRequests()
    let isWaiting = route.waits && !takesRequests && nextMessage == nil
    let reads = wantsRequests && requests == nil || isWaiting
    guard webSocket.isOpen, reads != isReading else { return }
    isReading = reads
    if reads {
      socket.startReading()
    } else {
      socket.pauseReading()
      isSilent = false
    }
    // Handles what has come in the meantime.
    webSocket.takesMessages = reads
    updateWait(hasReceived: false)
  }

  /// Sets the clock for what the client has to send. The rest of a message has time as long as some of it comes, like a
  /// request's body over HTTP.
  private func updateWait(hasReceived: Bool) {
    var now: Awaited?
    // While the client is not read it cannot send, and while a call is under way it need not.
    if isReading && takesRequests && webSocket.isOpen {
      now = place?.isNew == true ? .firstRequest : webSocket.awaitsRest ? .rest : nil
    }
    guard now != awaited || (now == .rest && hasReceived) else { return }
    wait(for: now)
  }

  private func wait(for awaited: Awaited?) {
    self.awaited = awaited
    if awaited == .firstRequest {
      place?.wait(until: firstRequestEnd)
    } else {
      place?.wait(for: awaited == nil ? nil : idleLimit)
    }
  }

  /// Encodes the one request of a message, and passes it to the session.
  private func take(_ text: UnsafeRawBufferPointer) {
    var message = ByteBuffer(capacity: CallMessage.headroom + text.count)
    message.appendZeros(CallMessage.headroom)
    do {
      _ = try JSONToProtobuf.encode(text, as: route.request, strict: isStrict, into: &message)
    } catch {
      return refuse(error)
    }
    guard message.count <= MemoryAccount.uncounted || kept.set(to: message.count) else {
      let shortage = GRPCStatus(.resourceExhausted, "\(MemoryAccount.shortage)")
      return route.kind == .unary ? send(.unaryError(shortage)) : fail(shortage, .tryAgainLater)
    }
    receive(message)
  }

  /// Keeps the requests of a stream's message. There may be any number of them, as all messages together are one
  /// sequence of JSON values.
  private func takeSequence(_ text: UnsafeRawBufferPointer) {
    var copy = ByteBuffer(capacity: text.count)
    copy.append(text)
    do throws(RequestError) {
      requests = try RequestSequence(copy, of: route, isStrict: isStrict, memory: shard.memory)
    } catch {
      fail(GRPCStatus(error.grpcCode, error.message), .tryAgainLater)
    }
    updateReading()
  }

  /// Passes requests to the session, as fast as the client takes the answers.
  private func takeRequests() {
    isTakingRequests = true
    defer { isTakingRequests = false }
    if wantsRequests, let message = nextMessage {
      nextMessage = nil
      keptNext.release()
      message.withUnsafeBytes { take($0) }
    }
    while webSocket.isOpen, !isOver, let left = requests {
      guard !left.isAtEnd else {
        requests = nil
        return
      }
      guard wantsRequests, !turn.isOver else { return }
      do {
        receive(try left.next())
      } catch {
        requests = nil
        return refuse(error.error)
      }
      turn.hasExecuted { [unowned self] in
        turn.begin()
        updateReading()
      }
    }
  }

  private func refuse(_ error: TranscodingError) {
    let status = GRPCStatus(.invalidArgument, "the message: \(error)")
    // A unary call fails alone. On a stream no client could know which request will have no answer.
    if route.kind == .unary { return send(.unaryError(status)) }
    fail(status, .invalidData)
  }

  private func receive(_ message: consuming ByteBuffer) {
    record?.hasReceived()
    if let session { return session.receive(message) }
    // A stream's request is valid by now; whether a unary call is shows in its answer.
    guard route.kind == .unary || requestWasGood() else { return }
    let session: any StreamSession =
      if route.kind == .unary {
        UnarySession(route, sink: self, shard: shard, caller: caller, timeout: timeout)
      } else {
        shard.session(for: route, sink: self, caller: caller, timeout: timeout)
      }
    self.session = session
    session.receive(message)
    // Such a stream has no further request.
    if route.kind == .serverStream { self.session?.receiveEnd() }
  }
}

extension WebSocketStream: WebSocketProtocolDelegate {
  func webSocket(_ webSocket: WebSocketProtocol, received text: UnsafeRawBufferPointer) {
    guard !isOver else { return }
    wait(for: nil)
    guard takesRequests || !route.waits else {
      guard keptNext.set(to: text.count) else {
        return fail(GRPCStatus(.resourceExhausted, "\(MemoryAccount.shortage)"), .tryAgainLater)
      }
      nextMessage = Array(text)
      return updateReading()
    }
    switch route.kind {
    case .unary: take(text)
    // Such a stream has one request, and bytes after it are ignored.
    case .serverStream: if session == nil { take(text) }
    case .watch, .leaseKeepAlive: takeSequence(text)
    }
  }

  func webSocket(_ webSocket: WebSocketProtocol, sends frame: [UInt8]) {
    var bytes = ByteBuffer(capacity: frame.count)
    bytes.append(frame)
    let owner = SocketBytes(bytes)
    socket.send(owner.bytes, of: owner)
  }

  func webSocketReceivedPong(_ webSocket: WebSocketProtocol) {}

  func webSocketEnded(_ webSocket: WebSocketProtocol) {
    leave()
    socket.finish()
  }
}

extension WebSocketStream: TakenOverConnectionDelegate {
  func socket(_ socket: TakenOverConnection, received bytes: UnsafeRawBufferPointer) {
    isSilent = false
    webSocket.receive(bytes)
    updateReading()
    updateWait(hasReceived: true)
  }

  func socketHasRoom(_ socket: TakenOverConnection) {
    session?.sinkHasRoom()
    updateReading()
  }

  func socketHasStalled(_ socket: TakenOverConnection, _ reason: StaticString) {
    // How long a client that continues to read has to take the error and what is queued before it.
    let patience: UInt64 = 5000
    let status = GRPCStatus(.resourceExhausted, "\(reason)")
    fail(status, .policyViolation, within: patience)
  }

  func socketIsGone(_ socket: TakenOverConnection) { leave() }
}

extension WebSocketStream: OpenStream {
  func gatewayStops() {
    // A call or stream with an end of its own may reach it.
    let isBusy = route.kind == .unary ? !takesRequests : !route.isEndless && session != nil
    guard !isBusy else {
      isStopping = true
      return
    }
    goAway()
  }

  func expire() {
    fail(GRPCStatus(.deadlineExceeded, "the time limit of the stream has passed"))
  }

  func hasWaitedInVain() {
    record?.ends(GRPCStatus(.deadlineExceeded, ""))
    let what = webSocket.awaitsRest ? "the rest of a message" : "a request"
    end(.policyViolation, "\(what) did not arrive in time (--idle-timeout)")
  }

  func losesPlace() {
    end(.tryAgainLater, "too many WebSockets have sent no valid request (--max-new-websockets)")
  }

  func beat() {
    // Behind other bytes a ping would show nothing more than those do.
    guard webSocket.isOpen, backlog == 0 else { return }
    if isSilent {
      leave()
      return socket.cut()
    }
    // The answer to a ping is not seen while the client is not read.
    isSilent = isReading
    webSocket.ping()
  }
}
