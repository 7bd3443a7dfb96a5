import GrpcBridge
import Transcoding

/// Where answers go that may be larger than anybody wants to keep at once, one for each request: a WebSocket.
protocol MessageSink: StreamSink {
  /// Queues a part of a message, the first of which begins it; no other may be sent before it has ended.
  func send(part: consuming ByteBuffer, isFirst: Bool, isLast: Bool)
}

/// A stream, or unary calls one after another, over a WebSocket: a text message for each request and for each answer.
/// Belongs to its shard's loop.
///
/// Its socket keeps it alive until that is closed.
final class WebSocketStream: MessageSink {
  private enum Awaited {
    /// Without one the WebSocket is of no use.
    case firstRequest
    /// Of a frame or a message that has begun.
    case rest
  }

  private let route: RpcRoute
  private unowned let shard: Shard
  private let caller: Caller
  private let timeout: GrpcTimeout?
  private let isStrict: Bool
  private lazy var webSocket = WebSocketProtocol(
    mostMessageBytes: shard.settings.http.requestBytes, delegate: self)
  private var socket: ClientSocket!
  private var place: OpenStreams.Place?
  /// What the WebSocket is about, from the first good request until it has ended.
  private var session: (any StreamSession)?
  /// What the client has to send in time.
  private var awaited: Awaited?
  private var isReading = false
  /// A message whose first requests keep the session busy, and where the others begin.
  private var unfinished: (message: [UInt8], start: Int)?
  /// Whether the requests of a message are being handed over.
  private var isTaking = false
  /// Whether the client was sent a ping and has sent nothing since.
  private var isSilent = false
  /// Whether a message was begun of which parts are still to come.
  private var isInMessage = false
  /// Whether the gateway is about to stop, and the client waits for an answer that it still gets.
  private var isStopping = false

  /// - Parameter timeout: the time limit of the stream, or of each unary call; nil for none.
  init(
    _ route: RpcRoute, shard: Shard, caller: Caller, timeout: GrpcTimeout?, isStrict: Bool
  ) {
    self.route = route
    self.shard = shard
    self.caller = caller
    self.timeout = timeout
    self.isStrict = isStrict
  }

  /// Takes its place among the open streams.
  ///
  /// - Throws: what to tell the client where there is none.
  func enter(_ streams: OpenStreams, heartbeat: UInt64?) throws(Refusal) {
    // Of unary calls each has its own time.
    let limit = route.kind == .unary ? nil : timeout?.milliseconds
    place = try streams.admit(self, heartbeat: heartbeat, timeout: limit)
  }

  /// Serves the client on `socket`.
  func begin(_ socket: ClientSocket) {
    self.socket = socket
    updateReading()
  }

  // MARK: - To the client

  var backlog: Int { socket.backlog }

  var takesRequests = true {
    didSet {
      guard !(takesRequests && isStopping) else { return goAway() }
      takeRest()
      updateReading()
    }
  }

  /// Whether the session wants requests, and the client takes its answers.
  private var hasRoom: Bool { takesRequests && backlog <= shard.settings.streams.backlog }

  func send(_ frame: StreamFrame) {
    guard webSocket.isOpen else { return }
    socket.send(frame.messageHeader, of: frame)
    socket.send(frame.json, of: frame)
    updateReading()
  }

  func send(part: consuming ByteBuffer, isFirst: Bool, isLast: Bool) {
    guard webSocket.isOpen else { return }
    isInMessage = !isLast
    var header = ByteBuffer()
    header.appendZeros(WebSocketHeader.mostBytes)
    let count = header.withUnsafeMutableBytes {
      WebSocketHeader.write(isFirst ? .text : .continuation, isFinal: isLast, count: part.count, to: $0)
    }
    header.truncate(to: count)
    for bytes in [SocketBytes(header), SocketBytes(part)] { socket.send(bytes.bytes, of: bytes) }
    updateReading()
  }

  func finish() { end(.normal) }

  func fail(_ status: GrpcStatus) {
    let (http, _) = status.httpStatus(hadCredentials: caller.isSomebody)
    switch http {
    case 401, 403: fail(status, .policyViolation)
    case 429, 503: fail(status, .tryAgainLater)
    default: fail(status, .internalError)
    }
  }

  private func fail(_ status: GrpcStatus, _ code: WebSocketCloseCode, within limit: UInt64? = nil) {
    // A message that has begun cannot be taken back: the client sees that it is not whole.
    if !isInMessage { send(.error(status, hadCredentials: caller.isSomebody)) }
    end(code, status.message, within: limit)
  }

  private func goAway() { end(.goingAway, OpenStreams.stopping) }

  private func end(_ code: WebSocketCloseCode, _ reason: String = "", within limit: UInt64? = nil) {
    webSocket.close(code, reason)
    leave()
    socket.finish(within: limit)
  }

  private func leave() {
    session = nil
    unfinished = nil
    place = nil
  }

  // MARK: - From the client

  /// Reads while requests are wanted and the client takes the answers to those before.
  private func updateReading() {
    let reads = hasRoom && unfinished == nil
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

  /// Sets the clock for what is awaited. The rest of a message has time for as long as some of it comes, as a request's
  /// body has over HTTP.
  private func updateWait(hasReceived: Bool) {
    var now: Awaited?
    // What is not read cannot come.
    if isReading && webSocket.isOpen { now = webSocket.awaitsRest ? .rest : session == nil ? .firstRequest : nil }
    guard now != awaited || (now == .rest && hasReceived) else { return }
    wait(for: now)
  }

  private func wait(for awaited: Awaited?) {
    self.awaited = awaited
    place?.wait(for: awaited == nil ? nil : UInt64(shard.settings.http.idleTimeout) * 1000)
  }

  /// Encodes the request that a message has and hands it to the session. Of a stream there may be several in it, as all
  /// messages together are one sequence of JSON values: what the session does not want yet waits as it came.
  private func encode(_ text: UnsafeRawBufferPointer, from start: Int) throws(TranscodingError) {
    let isSequence = route.kind == .watch || route.kind == .leaseKeepAlive
    isTaking = true
    defer { isTaking = false }
    var start = start
    while webSocket.isOpen {
      let rest = UnsafeRawBufferPointer(rebasing: text[start...])
      if isSequence && rest.isBlank { break }
      guard hasRoom || !isSequence else {
        unfinished = (unfinished?.message ?? Array(text), start)
        return
      }
      var message = ByteBuffer(capacity: CallMessage.headroom + min(rest.count, 1024))
      message.appendZeros(CallMessage.headroom)
      do {
        start += try JSONToProtobuf.encode(
          rest, as: route.request, strict: isStrict, sequence: isSequence, into: &message)
      } catch {
        throw error.preceded(by: start)
      }
      receive(message)
      if !isSequence { break }
    }
    unfinished = nil
  }

  /// Hands over what a message has left, if it is wanted now.
  private func takeRest() {
    guard !isTaking, hasRoom, let (message, start) = unfinished else { return }
    message.withUnsafeBytes { take($0, from: start) }
  }

  private func take(_ text: UnsafeRawBufferPointer, from start: Int) {
    do {
      try encode(text, from: start)
    } catch {
      unfinished = nil
      let status = GrpcStatus(.invalidArgument, "the message: \(error)")
      // A call of its own fails alone. Of a stream nobody could tell which request there will be no answer to.
      if route.kind == .unary { return send(.unaryError(status)) }
      session?.cancel()
      fail(status, .invalidData)
    }
  }

  private func receive(_ message: consuming ByteBuffer) {
    if let session { return session.receive(message) }
    let session: any StreamSession =
      if route.kind == .unary {
        UnarySession(route, sink: self, shard: shard, caller: caller, timeout: timeout)
      } else {
        shard.session(for: route, sink: self, caller: caller, timeout: timeout)
      }
    self.session = session
    session.receive(message)
    // There is no other request to such a stream.
    if route.kind == .serverStream { self.session?.receiveEnd() }
  }
}

extension WebSocketStream: WebSocketProtocolDelegate {
  func webSocket(_ webSocket: WebSocketProtocol, received text: UnsafeRawBufferPointer) {
    wait(for: nil)
    take(text, from: 0)
  }

  func webSocket(_ webSocket: WebSocketProtocol, sends frame: [UInt8]) {
    var bytes = ByteBuffer(capacity: frame.count)
    bytes.append(frame)
    let owner = SocketBytes(bytes)
    socket.send(owner.bytes, of: owner)
  }

  func webSocketReceivedPong(_ webSocket: WebSocketProtocol) {}

  func webSocketEnded(_ webSocket: WebSocketProtocol) {
    session?.cancel()
    leave()
    socket.finish()
  }
}

extension WebSocketStream: ClientSocketDelegate {
  func socket(_ socket: ClientSocket, received bytes: UnsafeRawBufferPointer) {
    isSilent = false
    webSocket.receive(bytes)
    updateReading()
    updateWait(hasReceived: true)
  }

  func socketHasRoom(_ socket: ClientSocket) {
    session?.sinkHasRoom()
    takeRest()
    updateReading()
  }

  func socketHasStalled(_ socket: ClientSocket) {
    // How long a client that comes back to life has to take the error and what is queued before it.
    let patience: UInt64 = 5000
    session?.cancel()
    let status = GrpcStatus(.resourceExhausted, "the client does not read (--stall-timeout)")
    fail(status, .policyViolation, within: patience)
  }

  func socketIsGone(_ socket: ClientSocket) {
    session?.cancel()
    leave()
  }
}

extension WebSocketStream: OpenStream {
  func gatewayStops() {
    // What has an end of its own may come to it.
    let isBusy = route.kind == .unary ? !takesRequests : !route.isEndless && session != nil
    guard !isBusy else {
      isStopping = true
      return
    }
    session?.cancel()
    goAway()
  }

  func expire() {
    session?.cancel()
    fail(GrpcStatus(.deadlineExceeded, "the time limit of the stream has passed"))
  }

  func hasWaitedInVain() {
    session?.cancel()
    let what = awaited == .rest ? "the rest of a message" : "a request"
    end(.policyViolation, "\(what) has not come in time (--idle-timeout)")
  }

  func beat() {
    // A ping behind other bytes would only tell what those tell.
    guard webSocket.isOpen, backlog == 0 else { return }
    if isSilent {
      session?.cancel()
      leave()
      return socket.cut()
    }
    // The answer is not seen while nothing is read.
    isSilent = isReading
    webSocket.ping()
  }
}

extension UnsafeRawBufferPointer {
  /// Whether there is nothing but white space (RFC 8259, section 2).
  fileprivate var isBlank: Bool { allSatisfy { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 } }
}
