import ByteBuffers
internal import CMicrohttpd
import EventLoop
import Glibc

/// One request and its answer, between libmicrohttpd and a ``RequestHandler``. Belongs to its shard's loop.
///
/// Invariant of the pointers: libmicrohttpd keeps the connection, and with it the bytes of ``head``, until it has
/// reported the request's completion. Then the exchange is released.
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
  let connection: OpaquePointer
  let client: ClientConnection
  // Invariant: libmicrohttpd ends every request before the server is released. Unsafe, as it is used often.
  unowned(unsafe) let server: HTTPServer
  private var handler: (any RequestHandler)?
  private var gate: (any RequestGate)?
  private var body: BodyProgress
  private var phase = ExchangePhase.receiving
  /// Whether libmicrohttpd looks at the connection in each of its runs.
  private var isAttended = false
  private var hasBadChunkLine = false
  /// The bytes of an early answer (``sendEarly(_:contentType:)``) that the system has not taken yet; nil if no such
  /// answer has begun.
  var early: ByteQueue?
  /// Whether a line feed follows a streamed answer.
  var owesLineFeed = false
  private var status: UInt32 = 0
  private var response: OpaquePointer?
  /// Counts the body if it comes in pieces, and an answer that is larger than what every connection may keep. Both
  /// count until the end of the request, as what is made of the body lives as long.
  private var kept: KeptBytes
  /// The owner of the connection after libmicrohttpd has given it up.
  private var successor: TakenOverConnection?
  private var takeoverAttempts = 0
  private var isAnsweredElsewhere = false
  /// How often a takeover is tried if the system has no descriptor left.
  private static let maxTakeoverAttempts = 100

  /// - Parameters:
  ///   - method, target, version: the parts of the request line, in libmicrohttpd's memory.
  init(
    _ connection: OpaquePointer, method: UnsafePointer<CChar>, target: HeadBytes, version: UnsafePointer<CChar>,
    client: ClientConnection, server: HTTPServer
  ) {
    self.connection = connection
    // Made in its place, as it is too large to be copied.
    head = RequestHead(
      connection, method: method, target: target, version: version, isLax: server.isLax,
      readsForwarded: client.isPeerKnown && server.limits.proxies.contains(client.address))
    self.client = client
    self.server = server
    id = RequestID(head.requestID, orMadeOf: server.nextRequestNumber())
    kept = KeptBytes(server.memory)
    body = BodyProgress(server.limits.body, from: server.loop.now)
    client.exchange = self
  }

  deinit {
    if let response { MHD_destroy_response(response) }
  }

  /// Whether the answer may take long by design, or has no end: then it does not wait for a client that may have left.
  var isEndless: Bool { handler?.isEndless ?? false }

  /// What a trusted proxy says of the client and its request; without one, what the connection shows.
  private(set) lazy var forwarded: Forwarded = {
    guard let fields = head.forwarded else { return Forwarded(client: client.address) }
    let proxies = server.limits.proxies
    return fields.resolve(from: client.address) { proxies.contains($0) }
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

  // MARK: - From libmicrohttpd

  /// The head is complete.
  func begin() -> MHD_Result {
    // These bytes are the rest of an earlier request that was not completely read.
    guard !client.hasParted else {
      phase.abandon()
      return .NO
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
    guard let gate else { return .YES }
    phase.arriveAtGate()
    suspendAttended()
    gate.ask()
    return .YES
  }

  /// Suspends the connection so that libmicrohttpd processes it before it reads again. A client may send nothing after
  /// its request, and close its sending side. When libmicrohttpd resumes a connection, it reads first, and takes that
  /// close for a disconnect (MHD_connection_handle_read still has the state from before the suspension).
  private func suspendAttended() {
    if !isAttended {
      server.attend(connection)
      isAttended = true
    }
    MHD_suspend_connection(connection)
  }

  /// The gate lets the request pass: its body may come.
  package func leaveGate() {
    guard phase.leaveGate() else { return }
    gate = nil
    body.measureRate(from: server.loop.now)
    server.resume(connection)
  }

  /// A piece of the body has come.
  func receive(_ bytes: UnsafeRawBufferPointer) -> MHD_Result {
    body.add(bytes.count)
    guard phase.takesBody else { return queue() }
    guard !hasBadChunkLine, hasSoundChunkLine(before: bytes) else {
      hasBadChunkLine = true
      // libmicrohttpd does not give up a suspended connection. The answer follows when the connection continues.
      return phase == .held ? .YES : refuseChunkLine()
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
    return phase.takesBody ? .YES : queue()
  }

  private func refuseChunkLine() -> MHD_Result {
    // The answer does not come from the handler, which has to end what it has under way.
    if handler?.bodyUse == .asItComes { handler?.clientIsGone() }
    refuse(RequestError(400, "a line before a chunk of the body is not SIZE CRLF"))
    return queue()
  }

  /// Lets the client wait with the rest of the body until ``takeMoreBody()``. To be called from
  /// ``RequestHandler/received(_:isWhole:)``. Bytes that were read already may still come.
  package func holdBody() {
    if phase.hold() { suspendAttended() }
  }

  /// The client is waiting for the service: it is not to blame for the time that passes.
  package func hasMadeProgress() { client.hasMadeProgress() }

  /// More of the body may come.
  package func takeMoreBody() {
    guard phase.unhold() else { return }
    // The client is not to blame for the time that it had to wait.
    body.measureRate(from: server.loop.now)
    server.resume(connection)
  }

  /// Whether the line before a chunk of the body is correct, as far as it can be seen.
  private func hasSoundChunkLine(before bytes: UnsafeRawBufferPointer) -> Bool {
    guard server.isLax && head.isChunked, let piece = bytes.bindMemory(to: UInt8.self).baseAddress else { return true }
    return ChunkLine.isSound(from: head.end, to: piece, within: server.limits.connectionMemory)
  }

  /// The request is complete, or libmicrohttpd continues after a suspension.
  func proceed() -> MHD_Result {
    // libmicrohttpd repeats its call for the head, and then reads the body.
    if phase.goOn() { return .YES }
    if phase == .receiving && hasBadChunkLine { return refuseChunkLine() }
    guard phase.complete() else { return queue() }
    handler?.receivedEnd()
    guard phase.awaitAnswer() else { return queue() }
    suspendAttended()
    return .YES
  }

  /// Gives the answer to libmicrohttpd. If there is none, the connection is closed.
  private func queue() -> MHD_Result {
    if let successor, status == 0 {
      guard client.beTakenOver(by: successor) || takeoverAttempts >= Self.maxTakeoverAttempts else {
        // libmicrohttpd asks again in its next run. Before that, it closes the connections that it has given up in this
        // one.
        takeoverAttempts += 1
        server.needsRunSoon()
        return .YES
      }
      if client.isBeingTakenOver { self.successor = nil }
      return .NO
    }
    guard let response else { return .NO }
    if isAttended {
      isAttended = false
      server.neglect(connection)
    }
    self.response = nil
    let result = MHD_queue_response(connection, status, response)
    MHD_destroy_response(response)
    return result
  }

  /// libmicrohttpd asks for more of a streamed answer (`MHD_ContentReaderCallback`).
  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    switch handler?.read(into: buffer) ?? .broken {
    case .bytes(let count):
      client.hasMadeProgress()
      record.bytesSent &+= count
      return count
    case .notYet:
      phase.starve()
      MHD_suspend_connection(connection)
      return 0
    case .end where owesLineFeed:
      owesLineFeed = false
      buffer[0] = Self.lineFeed
      return 1
    case .end:
      handler = nil
      // Without chunks the end of the body is the end of the connection.
      if head.isHTTP10 { server.attendSoon(connection) }
      return -1  // MHD_CONTENT_READER_END_OF_STREAM
    case .broken:
      handler = nil
      client.termination?.breakOff()
      // If libmicrohttpd closed it right here, it would forget the connection until some timeout (0.9.75 and 1.0.1).
      server.attendSoon(connection)
      return -2  // MHD_CONTENT_READER_END_WITH_ERROR
    }
  }

  /// A streamed answer has more to read, or has ended.
  package func streamIsReadable() {
    if phase.feed() { server.resume(connection) }
  }

  /// libmicrohttpd has finished with the request.
  ///
  /// - Parameter well: whether the whole answer was sent.
  func completed(well: Bool) {
    let isCut = !well && record.status != 0 && client.takeover == nil && !isAnsweredElsewhere
    server.service.ended(self, isCut: isCut)
    client.exchange = nil
    client.hasEnded(isAnswered: well)
    if let successor {
      // The connection was lost before its takeover.
      self.successor = nil
      server.hasGone(successor)
    }
    abandon()
  }

  /// libmicrohttpd has sent the 101 and hands over the socket (`MHD_UpgradeHandler`).
  func upgraded(_ received: UnsafeRawBufferPointer, _ handle: OpaquePointer) {
    if let successor {
      self.successor = nil
      client.takeover = Takeover(successor, of: client, received: Array(received))
    }
    _ = close_upgraded(handle)
    server.needsRunSoon()
  }

  /// The client has closed its sending side. If the connection is not suspended, libmicrohttpd notices by itself.
  func clientIsGone() {
    guard phase.isSuspended else { return }
    abandon()
    server.resume(connection)
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

  /// Whether an answer would come before libmicrohttpd can send it.
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

  /// Takes an answer, and sends it as soon as libmicrohttpd does. A handler that has answered is let go of, unless more
  /// is read from it.
  ///
  /// - Parameter status: 0 if it is not libmicrohttpd that answers, but who gets the connection.
  /// - Returns: whether the answer is accepted. It is too late if the client has disconnected.
  func settle(_ status: UInt32, _ response: OpaquePointer?, isRead: Bool = false) -> Bool {
    if !isRead { handler = nil }
    switch phase.answer() {
    case .taken(let resumes):
      if status != 0 { record.status = status }
      gate = nil
      self.status = status
      self.response = response
      if resumes { server.resume(connection) }
      return true
    case .second:
      // This is a fault of a handler, which must not end all other requests.
      server.logger.critical(
        "a request was answered twice: its connection is cut", metadata: ["request_id": "\(id.text)"])
      client.cut()
      clientIsGone()
    case .tooLate: break
    }
    if let response { MHD_destroy_response(response) }
    return false
  }

  /// The same, for an answer after which the connection is `successor`'s.
  func settle(status: UInt32, response: OpaquePointer?, successor: TakenOverConnection) -> TakenOverConnection {
    if settle(status, response) { self.successor = successor } else { server.hasGone(successor) }
    return successor
  }
}
