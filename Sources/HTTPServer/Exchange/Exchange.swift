import ByteBuffers
import EventLoop

/// One request and its answer, between a connection and a ``RequestHandler``. Belongs to its shard's loop.
///
/// Invariant of the pointers: the connection keeps the bytes of ``head`` until it has reported the request's
/// completion. Then the exchange is released.
package final class Exchange {
  package let head: RequestHead
  /// What is known of the request at its end.
  package var record = RequestRecord()
  /// What the service keeps for the request.
  package var context: AnyObject?
  /// The `traceparent` of the answer (W3C Trace Context); nil if it has none.
  package var traceParent: String?
  /// The ID of the request in logs.
  package let id: RequestID
  let connection: any RequestConnection
  // Invariant: the server's connections end every request before the server is released. Unsafe, as it is used often.
  unowned(unsafe) let server: HTTPServer
  private var handler: (any RequestHandler)?
  private var gate: (any RequestGate)?
  private var body: BodyProgress
  private var phase = ExchangePhase.receiving
  private var hasBadChunkLine = false
  /// The bytes of an early answer (``sendEarly(_:contentType:)``) that the system has not taken yet; nil if no such
  /// answer has begun.
  var early: ByteQueue?
  /// Whether a line feed follows a streamed answer.
  var owesLineFeed = false
  /// The answer until the connection sends it.
  private var answer: Answer?
  /// Counts the body if it comes in pieces, and an answer that is larger than what every connection may keep. Both
  /// count until the end of the request, as what is made of the body lives as long.
  private var kept: KeptBytes
  /// The owner of the connection after that has been given up.
  private var successor: TakenOverConnection?
  private var takeoverAttempts = 0
  private var isAnsweredElsewhere = false
  /// How often a takeover is tried if the system has no descriptor left.
  private static let maxTakeoverAttempts = 100

  init(_ line: RequestLine, by connection: some RequestConnection, server: HTTPServer) {
    self.connection = connection
    // Made in its place, as it is too large to be copied.
    head = RequestHead(
      line, from: connection,
      readsForwarded: connection.isPeerKnown && server.limits.proxies.contains(connection.address))
    self.server = server
    id = RequestID(head.requestID, orMadeOf: server.nextRequestNumber())
    kept = KeptBytes(server.memory)
    body = BodyProgress(server.limits.body, from: server.loop.now)
    connection.exchange = self
  }

  /// Whether the answer may take long by design, or has no end: then it does not wait for a client that may have left.
  package var isEndless: Bool { handler?.isEndless ?? false }

  /// What a trusted proxy says of the client and its request; without one, what the connection shows.
  private(set) lazy var forwarded: Forwarded = {
    guard let fields = head.forwarded else { return Forwarded(client: connection.address) }
    let proxies = server.limits.proxies
    return fields.resolve(from: connection.address) { proxies.contains($0) }
  }()

  /// Whether the request is being executed, or will be, so that its answer may begin.
  var mayBeginEarly: Bool { bytesReceived > 0 && phase.mayBeginEarly }

  /// How much of the body has come, in bytes.
  package var bytesReceived: UInt64 { body.count }

  /// Whether the bytes of ``head`` still exist: libmicrohttpd takes them back when the request is completed.
  package var hasHead: Bool { phase != .abandoned }

  /// Whether the request is not complete yet.
  var isReceiving: Bool { phase.isReceiving }

  /// Whether the client has to wait with the body, or with the rest of it.
  var isHeldBack: Bool { phase.isHeldBack }

  /// Whether the client has to wait because the handler has no room for more.
  package var isBodyHeld: Bool { phase == .held }

  /// Whether the body comes too slowly. The rate is measured anew every few seconds, so that a burst gives no credit
  /// for later.
  func isTooSlow(at now: UInt64, _ limits: RequestClock.Limits) -> Bool {
    phase == .receiving && body.isTooSlow(at: now, limits)
  }

  // MARK: - From the connection

  /// The head is complete.
  ///
  /// - Returns: false if the connection is to be closed, as for each of these methods.
  package func begin() -> Bool {
    guard !connection.hasParted else {
      phase.abandon()
      return false
    }
    if let fault = head.fault {
      refuse(RequestError(400, fault, headers: [("Connection", "close")]))
      return queue()
    }
    if head.size > server.limits.headerBytes {
      refuse(
        RequestError(
          431, "the request's headers are larger than \(server.limits.headerBytes) bytes (--max-header-bytes)"))
      return queue()
    }
    let handler = server.service.handler(for: self)
    self.handler = handler
    guard phase == .receiving else { return queue() }
    let bodyUse = handler.bodyUse
    if bodyUse == .asItComes { body.limit = .none }
    if let limit = handler.bodyLimit { body.limit = limit }
    if let length = head.contentLength, length > UInt64(body.limit.bytes) {
      // This comes before the 100 for which the client may wait.
      refuse(body.limit.error)
      return queue()
    }
    if let length = head.contentLength, length > UInt64(MemoryAccount.uncounted), bodyUse == .whole,
      !server.memory.hasRoom(for: Int(length))
    {
      refuse(.shortage)
      return queue()
    }
    do throws(RequestError) {
      gate = try server.service.gate(for: self, handledBy: handler)
    } catch {
      refuse(error)
      return queue()
    }
    guard let gate else { return true }
    phase.arriveAtGate()
    connection.suspendRequest()
    gate.ask()
    return true
  }

  /// The gate lets the request pass: its body may come.
  package func leaveGate() {
    guard phase.leaveGate() else { return }
    gate = nil
    body.measureRate(from: server.loop.now)
    connection.resume()
  }

  /// A piece of the body has come.
  package func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
    body.add(bytes.count)
    guard phase.takesBody else { return queue() }
    guard !hasBadChunkLine, hasSoundChunkLine(before: bytes) else {
      hasBadChunkLine = true
      // A suspended connection cannot be closed. The answer follows when the connection continues.
      return phase == .held || refuseChunkLine()
    }
    if !body.isTooLarge {
      let isWhole = head.contentLength == UInt64(bytes.count)
      if !isWhole, let handler, handler.bodyUse == .whole, !kept.grow(by: body.counted(ofLast: bytes.count)) {
        refuse(.shortage)
      } else {
        handler?.received(bytes, isWhole: isWhole)
      }
    } else {
      refuse(body.limit.error)
    }
    return phase.takesBody || queue()
  }

  private func refuseChunkLine() -> Bool {
    // The answer does not come from the handler, which has to end what it has under way.
    if handler?.bodyUse == .asItComes { handler?.clientIsGone() }
    refuse(RequestError(400, "a line before a chunk of the body is not SIZE CRLF"))
    return queue()
  }

  /// Lets the client wait with the rest of the body until ``takeMoreBody()``. To be called from
  /// ``RequestHandler/received(_:isWhole:)``. Bytes that were read already may still come.
  package func holdBody() {
    if phase.hold() { connection.suspendRequest() }
  }

  /// The client is waiting for the service: it is not to blame for the time that passes.
  package func hasMadeProgress() { connection.hasMadeProgress() }

  /// More of the body may come.
  package func takeMoreBody() {
    guard phase.unhold() else { return }
    // The client is not to blame for the time that it had to wait.
    body.measureRate(from: server.loop.now)
    connection.resume()
  }

  /// Whether the line before a chunk of the body is correct, as far as it can be seen.
  private func hasSoundChunkLine(before bytes: UnsafeRawBufferPointer) -> Bool {
    guard server.isLax && head.isChunked, let piece = bytes.bindMemory(to: UInt8.self).baseAddress else { return true }
    return ChunkLine.isSound(from: head.end, to: piece, within: server.limits.connectionMemory)
  }

  /// The request is complete, or the connection continues after a suspension.
  package func proceed() -> Bool {
    // The connection repeats its call for the head, and then reads the body.
    if phase.goOn() { return true }
    if phase == .receiving && hasBadChunkLine { return refuseChunkLine() }
    guard phase.complete() else { return queue() }
    handler?.receivedEnd()
    guard phase.awaitAnswer() else { return queue() }
    connection.suspendRequest()
    return true
  }

  /// Gives the answer to the connection. If there is none, the connection is closed.
  private func queue() -> Bool {
    if let answer = answer.take() { return connection.send(answer) }
    // After a 101 the connection gets its new owner by itself.
    guard let successor, record.status != 101 else { return false }
    if connection.beTakenOver(by: successor) {
      self.successor = nil
      return false
    }
    guard takeoverAttempts < Self.maxTakeoverAttempts else { return false }
    // The connection asks again in the next run. Before that, others are closed that were given up in this one.
    takeoverAttempts += 1
    server.needsRunSoon()
    return true
  }

  /// Copies the next bytes of a streamed answer to `buffer`.
  package func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    let read = handler?.read(into: buffer) ?? .broken
    switch read {
    case .bytes(let count):
      connection.hasMadeProgress()
      record.bytesSent &+= count
    case .notYet:
      phase.starve()
      connection.suspendAnswer()
    case .end where owesLineFeed:
      owesLineFeed = false
      buffer[0] = Self.lineFeed
      return .bytes(1)
    case .end:
      handler = nil
    case .broken:
      handler = nil
      connection.breakOff()
    }
    return read
  }

  /// A streamed answer has more to read, or has ended.
  package func streamIsReadable() {
    if phase.feed() { connection.resume() }
  }

  /// The connection has finished with the request.
  ///
  /// - Parameter well: whether the whole answer was sent.
  func completed(well: Bool) {
    let isCut = !well && record.status != 0 && !connection.isTakenOver && !isAnsweredElsewhere
    server.service.ended(self, isCut: isCut)
    connection.exchange = nil
    connection.hasEnded(isAnswered: well)
    if let successor {
      // The connection was lost before its takeover.
      self.successor = nil
      server.hasGone(successor)
    }
    abandon()
  }

  /// The connection has sent the 101. Returns the owner that it has from then on.
  package func takeSuccessor() -> TakenOverConnection? {
    defer { successor = nil }
    return successor
  }

  /// The client has closed its sending side. If the connection is not suspended, it notices by itself.
  package func clientIsGone() {
    guard phase.isSuspended else { return }
    abandon()
    connection.resume()
  }

  /// The connection has sent the client the reason why the request is not served.
  func abandon(answeredWith answer: borrowing BareAnswer) {
    isAnsweredElsewhere = true
    record.status = answer.status
    willSend(answer.bodyCount, answer.errorCode)
    abandon()
  }

  /// No answer follows: the connection is being closed.
  func abandon() {
    phase.abandon()
    gate?.cancel()
    gate = nil
    handler?.clientIsGone()
    handler = nil
  }

  // MARK: - An answer

  /// Whether an answer would come before the connection can send it.
  var answersEarly: Bool { phase.answersEarly }

  /// Counts an answer that is whole, as far as it is more than a connection has room for.
  ///
  /// - Parameter isOwed: whether it is to be counted even if there is no room.
  /// - Returns: whether it may be given.
  func keeps(_ count: Int, isOwed: Bool) -> Bool {
    if count <= MemoryAccount.uncounted || kept.grow(by: count) { return true }
    if isOwed { kept.force(count) }
    return isOwed
  }

  /// Takes an answer, which the connection sends soon. A handler that has answered is let go of, unless more is read
  /// from it.
  ///
  /// - Parameter answer: nil if the new owner of the connection answers.
  /// - Returns: whether the answer is accepted. It is too late if the client has disconnected.
  func settle(_ answer: consuming Answer?, isRead: Bool = false) -> Bool {
    if !isRead { handler = nil }
    switch phase.answer() {
    case .taken(let resumes):
      if let status = answer?.status { record.status = status }
      gate = nil
      self.answer = answer
      if resumes { connection.resume() }
      return true
    case .second:
      // This is a fault of a handler, which must not end all other requests.
      server.logger.critical(
        "a request was answered twice: its connection is cut", metadata: ["request_id": "\(id.text)"])
      connection.cut()
      clientIsGone()
    case .tooLate: break
    }
    return false
  }

  /// The same, for an answer after which the connection is `successor`'s.
  func settle(_ answer: consuming Answer?, successor: TakenOverConnection) -> TakenOverConnection {
    if settle(answer) { self.successor = successor } else { server.hasGone(successor) }
    return successor
  }
}
