import ByteBuffers
internal import CMicrohttpd
import EventLoop
import Glibc

/// One request and its answer, between libmicrohttpd and a ``RequestHandler``. Belongs to its shard's loop.
///
/// Invariant of the pointers: libmicrohttpd keeps the connection, and with it the bytes of ``head``, until it has told
/// of the request's completion, upon which the exchange is released.
package final class Exchange {
  package let head: RequestHead
  /// What is known of the request by its end.
  // Read and written many times a request, like its phase. Unchecked, as only the loop's thread does, and no access
  // calls anything.
  @exclusivity(unchecked) package var record = RequestRecord()
  /// What the service keeps for the request.
  package var context: AnyObject?
  /// The `traceparent` of the answer (W3C Trace Context); nil if it has none.
  @exclusivity(unchecked) package var traceParent: String?
  /// What it is known by in logs.
  package let id: RequestID
  let connection: OpaquePointer
  let client: ClientConnection
  // Invariant: libmicrohttpd ends every request before the server goes. Without a count, as it is read many times.
  unowned(unsafe) let server: HTTPServer
  private var handler: (any RequestHandler)?
  private var gate: (any RequestGate)?
  private var bodyLimit: BodyLimit
  @exclusivity(unchecked) private var phase = ExchangePhase.receiving
  private var bodyCount: UInt64 = 0
  /// Since when, in the loop's milliseconds, and from which byte on the rate of the body is measured.
  private var rateStart: (time: UInt64, count: UInt64)
  /// Whether libmicrohttpd looks at the connection in each of its runs.
  private var isAttended = false
  private var hasBadChunkLine = false
  /// What the system has yet to take of an answer that was begun before its time (``sendEarly(_:contentType:)``); nil
  /// where none was.
  var early: ByteQueue?
  /// Whether a line feed is sent behind a streamed answer.
  private var owesLineFeed = false
  private var status: UInt32 = 0
  private var response: OpaquePointer?
  /// The body, where it comes in pieces, and an answer that is more than a connection has room for: for as long as the
  /// request goes on, since what is made of the body lives as long.
  private var kept: KeptBytes
  /// Where the connection goes once libmicrohttpd has let go of it.
  private var successor: TakenOverConnection?
  private var takeoverAttempts = 0
  private var isAnsweredElsewhere = false
  /// How often to try if the system has no descriptor left.
  private static let maxTakeoverAttempts = 100

  /// - Parameters:
  ///   - method, target, version: the parts of the request line, in libmicrohttpd's memory.
  init(
    _ connection: OpaquePointer, method: UnsafePointer<CChar>, target: HeadBytes, version: UnsafePointer<CChar>,
    client: ClientConnection, server: HTTPServer
  ) {
    self.connection = connection
    // Made where it stays: it is large to be copied.
    head = RequestHead(
      connection, method: method, target: target, version: version, isLax: server.isLax,
      readsForwarded: client.isPeerKnown && server.limits.proxies.contains(client.address))
    self.client = client
    self.server = server
    id = RequestID(head.requestID, orMadeOf: server.nextRequestNumber())
    kept = KeptBytes(server.memory)
    bodyLimit = server.limits.body
    rateStart = (server.loop.now, 0)
    client.exchange = self
  }

  deinit {
    if let response { MHD_destroy_response(response) }
  }

  /// Whether the answer is one that may be long in coming, or never end: a client that may have left is not waited for.
  package var isEndless: Bool { handler?.isEndless ?? false }

  /// What a proxy that is trusted says of the request; else what the connection does.
  private(set) lazy var forwarded: Forwarded = {
    guard let fields = head.forwarded else { return Forwarded(client: client.address) }
    let proxies = server.limits.proxies
    return fields.resolve(from: client.address) { proxies.contains($0) }
  }()

  /// Whether it is worked on, or will be: its answer may begin.
  var mayBeginEarly: Bool { bytesReceived > 0 && phase.mayBeginEarly }

  /// How much of the body has come, in bytes.
  package var bytesReceived: UInt64 { bodyCount }

  /// Whether the bytes of ``head`` are there: they are libmicrohttpd's again once the request is completed.
  package var hasHead: Bool { phase != .abandoned }

  /// Whether the request is not complete yet.
  var isReceiving: Bool { phase.isReceiving }

  /// Whether the client has to wait with the body, or with more of it.
  var isHeldBack: Bool { phase.isHeldBack }

  /// The same, as the handler has no room for more.
  package var isBodyHeld: Bool { phase == .held }

  /// Whether the body comes more slowly than it may. Measured anew every few seconds: a burst buys no time for later.
  func isTooSlow(at now: UInt64, _ limits: RequestClock.Limits) -> Bool {
    guard limits.bodyRate > 0, phase == .receiving else { return false }
    let time = now - rateStart.time
    guard time >= RequestClock.Limits.rateSpan else { return false }
    let (least, overflows) = UInt64(limits.bodyRate).multipliedReportingOverflow(by: time)
    if overflows || (bodyCount - rateStart.count) * 1000 < least { return true }
    rateStart = (now, bodyCount)
    return false
  }

  // MARK: - From libmicrohttpd

  /// The head has come.
  func begin() -> MHD_Result {
    // The rest of something else, part of which was not read.
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
    handler = server.service.handler(for: self)
    guard phase == .receiving else { return queue() }
    if handler?.bodyUse == .asItComes { bodyLimit = .none }
    if let limit = handler?.bodyLimit { bodyLimit = limit }
    if let length = head.contentLength, length > UInt64(bodyLimit.bytes) {
      // Before the client is told to go on (100), if it waits for that.
      refuse(bodyLimit.error)
      return queue()
    }
    if let length = head.contentLength, length > UInt64(MemoryAccount.uncounted), handler?.bodyUse == .whole,
      !server.memory.hasRoom(for: Int(length))
    {
      refuse(.shortage)
      return queue()
    }
    guard let handler else { return .YES }
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

  /// Suspends the connection after a request that may be all that the client sends: resumed, libmicrohttpd would read
  /// first, and take the end of what a client sends for the end of the client (MHD_connection_handle_read: its notion
  /// of what it waits for is older than the suspension). Attended to, the connection goes on before it is read.
  private func suspendAttended() {
    if !isAttended {
      server.attend(connection)
      isAttended = true
    }
    MHD_suspend_connection(connection)
  }

  /// The request may go on, and its body come.
  package func leaveGate() {
    guard phase.leaveGate() else { return }
    gate = nil
    rateStart = (server.loop.now, bodyCount)
    server.resume(connection)
  }

  /// A piece of the body has come.
  func receive(_ bytes: UnsafeRawBufferPointer) -> MHD_Result {
    bodyCount += UInt64(bytes.count)
    let limit = UInt64(bodyLimit.bytes)
    guard phase.takesBody else { return queue() }
    guard !hasBadChunkLine, hasSoundChunkLine(before: bytes) else {
      hasBadChunkLine = true
      // A connection that is suspended is not let go of: it is answered when it goes on.
      return phase == .held ? .YES : refuseChunkLine()
    }
    if bodyCount <= limit {
      let isWhole = head.contentLength == UInt64(bytes.count)
      if !isWhole, let handler, handler.bodyUse == .whole, !kept.grow(by: countedBytes(ofLast: bytes.count)) {
        refuse(.shortage)
      } else {
        handler?.received(bytes, isWhole: isWhole)
      }
    } else {
      refuse(bodyLimit.error)
    }
    return phase.takesBody ? .YES : queue()
  }

  private func refuseChunkLine() -> MHD_Result {
    // It is not the handler that answers: what that has under way is to end.
    if handler?.bodyUse == .asItComes { handler?.clientIsGone() }
    refuse(RequestError(400, "a line before a chunk of the body is not SIZE CRLF"))
    return queue()
  }

  /// Has the client wait with more of the body until ``takeMoreBody()``. To be called from
  /// ``RequestHandler/received(_:isWhole:)``; some of what was read already may come all the same.
  package func holdBody() {
    if phase.hold() { suspendAttended() }
  }

  /// The client waits for the service, and is not to blame for the time that passes.
  package func hasMadeProgress() { client.hasMadeProgress() }

  /// More of the body may come.
  package func takeMoreBody() {
    guard phase.unhold() else { return }
    // The client is not to blame for the time that it had to wait.
    rateStart = (server.loop.now, bodyCount)
    server.resume(connection)
  }

  /// How many of the last bytes of the body are counted as kept: those beyond what any connection may keep.
  private func countedBytes(ofLast count: Int) -> Int {
    let kept = Int(bodyCount)
    return max(0, kept - MemoryAccount.uncounted) - max(0, kept - count - MemoryAccount.uncounted)
  }

  /// Whether what comes before a piece of the body is as it has to be, as far as that is to be seen.
  private func hasSoundChunkLine(before bytes: UnsafeRawBufferPointer) -> Bool {
    guard server.isLax && head.isChunked, let piece = bytes.bindMemory(to: UInt8.self).baseAddress else { return true }
    return ChunkLine.isSound(from: head.end, to: piece, within: HTTPServer.Limits.connectionMemory)
  }

  /// The request is complete, or libmicrohttpd goes on after a suspension.
  func proceed() -> MHD_Result {
    // libmicrohttpd asks again what it has asked at the head, and then reads the body.
    if phase.goOn() { return .YES }
    if phase == .receiving && hasBadChunkLine { return refuseChunkLine() }
    guard phase.complete() else { return queue() }
    handler?.receivedEnd()
    guard phase.awaitAnswer() else { return queue() }
    suspendAttended()
    return .YES
  }

  /// Hands the answer to libmicrohttpd; without one the connection is closed.
  private func queue() -> MHD_Result {
    if let successor, status == 0 {
      guard client.beTakenOver(by: successor) || takeoverAttempts >= Self.maxTakeoverAttempts else {
        // libmicrohttpd asks again in its next run, before which it closes those that it has let go of in this one.
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
  fileprivate func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
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
      // Without chunks its end is that of the connection.
      if head.isHTTP10 { server.attend(connection) }
      return -1  // MHD_CONTENT_READER_END_OF_STREAM
    case .broken:
      handler = nil
      client.termination?.breakOff()
      // A connection that it closes right here libmicrohttpd would forget until some timeout (0.9.75 and 1.0.1).
      server.attend(connection)
      return -2  // MHD_CONTENT_READER_END_WITH_ERROR
    }
  }

  /// libmicrohttpd has finished with the request, well or not.
  ///
  /// - Parameter well: whether all of its answer was sent.
  func completed(well: Bool) {
    let isCut = !well && record.status != 0 && client.takeover == nil && !isAnsweredElsewhere
    server.service.ended(self, isCut: isCut)
    client.exchange = nil
    client.hasEnded(isAnswered: well)
    if let successor {
      // The connection broke before it could change hands.
      self.successor = nil
      server.hasGone(successor)
    }
    abandon()
  }

  /// libmicrohttpd has sent the 101 and hands out the socket (`MHD_UpgradeHandler`).
  fileprivate func upgraded(_ received: UnsafeRawBufferPointer, _ handle: OpaquePointer) {
    if let successor {
      self.successor = nil
      client.takeover = Takeover(successor, of: client, received: Array(received))
    }
    _ = close_upgraded(handle)
    server.needsRunSoon()
  }

  /// The client has closed its side. If libmicrohttpd is at work on the connection it finds out by itself.
  package func clientIsGone() {
    guard phase.isSuspended else { return }
    abandon()
    server.resume(connection)
  }

  /// The client has been told, by its connection, why the request is not served.
  func abandon(answeredWith answer: borrowing BareAnswer) {
    isAnsweredElsewhere = true
    record.status = answer.status
    willSend(answer.bodyCount, answer.errorCode)
    abandon()
  }

  /// Nothing more is to be said: the connection is being closed.
  func abandon() {
    phase.abandon()
    gate?.cancel()
    gate = nil
    handler?.clientIsGone()
    handler = nil
  }

  // MARK: - From the handler

  package static let lineFeed = UInt8(ascii: "\n")

  /// Whether a body ends with a line feed that no handler writes: JSON does, so that a terminal's next prompt has a
  /// line of its own.
  static func endsLine(_ contentType: StaticString?) -> Bool {
    contentType.map { $0.bytes.isEqual(to: MediaType.json.name) } ?? false
  }

  /// Takes notice of an answer whose body is known.
  ///
  /// - Parameters:
  ///   - count: its bytes.
  ///   - errorCode: that of an error.
  func willSend(_ count: Int, _ errorCode: Int? = nil) {
    record.errorCode = errorCode
    if head.method != .head { record.bytesSent = count }
  }

  /// Answers with an error.
  package func refuse(_ error: RequestError) { respond(server.service.response(to: error)) }

  /// Answers with a response that is whole.
  ///
  /// Before the request is complete it is answered all the same; what the client sends after that is thrown away.
  package func respond(_ answer: consuming HTTPResponse) {
    if early != nil { return endEarly(answer) }
    let isEarly = phase.answersEarly
    if !isEarly && answer.body.count > MemoryAccount.uncounted && !kept.grow(by: answer.body.count) {
      if answer.isOwed {
        kept.force(answer.body.count)
      } else {
        answer = server.service.response(to: .shortage)
      }
    }
    if answer.status == 401 && hasHead { answer.headers += server.service.challenges(to: head) }
    if Self.endsLine(answer.contentType) { answer.body.append(Self.lineFeed) }
    if isEarly { return respondEarly(answer) }
    if answer.mayBePacked { pack(&answer) }
    let (status, contentType, headers) = (answer.status, answer.contentType, answer.headers)
    willSend(answer.body.count, answer.errorCode)
    let body = answer.body.release()
    handler = nil
    self.answer(
      status, contentType, headers,
      MHD_create_response_from_buffer(body.count, body.baseAddress, .RESPMEM_MUST_FREE))
  }

  private func pack(_ answer: inout HTTPResponse) {
    let packed = takesGzip ? answer.body.withUnsafeBytes { Gzip.packed($0, .least) } : nil
    let isPacked = packed != nil
    answer.headers += Gzip.headers(isPacked: isPacked)
    if let packed { answer.body = packed }
  }

  /// Answers with bytes that never change and live as long as the server.
  package func respond(
    _ status: UInt32, contentType: StaticString, constant body: UnsafeRawBufferPointer, headers: HTTPResponse.Headers
  ) {
    handler = nil
    willSend(status == 304 ? 0 : body.count)
    answer(
      status, contentType, headers,
      MHD_create_response_from_buffer(
        body.count, UnsafeMutableRawPointer(mutating: body.baseAddress), .RESPMEM_PERSISTENT))
  }

  /// Answers with bytes that other answers have, too. The request must be complete.
  package func respond(
    _ status: UInt32, contentType: StaticString, shared body: SharedBody, headers: HTTPResponse.Headers = []
  ) {
    handler = nil
    willSend(body.bytes.count)
    answer(
      status, contentType, headers,
      MHD_create_response_from_buffer_with_free_callback_cls(
        body.bytes.count, UnsafeMutableRawPointer(mutating: body.bytes.baseAddress),
        { Unmanaged<SharedBody>.fromOpaque($0!).release() }, Unmanaged.passRetained(body).toOpaque()))
  }

  /// Answers with a stream that is read from the handler.
  ///
  /// - Parameter length: how many bytes that will be, for the client to know; nil if that is unknown.
  package func respond(
    streaming status: UInt32, contentType: StaticString, length: UInt64? = nil, headers: HTTPResponse.Headers
  ) {
    let size = length ?? .max  // MHD_SIZE_UNKNOWN
    let response = MHD_create_response_from_callback(
      size, 65_536,
      { context, _, buffer, capacity in
        Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
          .read(into: UnsafeMutableRawBufferPointer(start: buffer, count: capacity))
      }, Unmanaged.passUnretained(self).toOpaque(), nil)
    owesLineFeed = Self.endsLine(contentType)
    // libmicrohttpd 0.9.75 ends the body that a HEAD has not: with a last chunk, which belongs to the next answer then.
    if length == nil && head.method == .head { without_chunks(response) }
    answer(status, contentType, headers, response)
  }

  /// There is more to read of a streamed answer, or it has come to its end.
  package func streamIsReadable() {
    if phase.feed() { server.resume(connection) }
  }

  /// Takes the connection over, in place of an answer by libmicrohttpd.
  ///
  /// - Parameter status: that of the answer.
  /// - Returns: the socket, to which the answer is sent from its status line on. `delegate` hears if the connection
  ///   breaks before it has changed hands.
  package func takeOver(
    answering status: UInt32, delegate: (any TakenOverConnectionDelegate)?
  ) -> TakenOverConnection {
    record.status = status
    return settle(status: 0, response: nil, successor: TakenOverConnection(server.sockets, delegate: delegate))
  }

  /// Answers with 101 and takes the connection over for another protocol (RFC 9110, section 7.8).
  ///
  /// - Parameter headers: those of the answer besides `Connection` and `Date`; `Upgrade` must be among them.
  /// - Returns: the socket, to which messages of that protocol are sent. `delegate` hears if the connection breaks
  ///   before it has changed hands. What the client had sent after its request is heard of as the first that is read,
  ///   whether or not the socket reads.
  package func upgrade(headers: HTTPResponse.Headers, delegate: any TakenOverConnectionDelegate) -> TakenOverConnection
  {
    let response = MHD_create_response_for_upgrade(
      { _, _, exchange, received, count, _, handle in
        Unmanaged<Exchange>.fromOpaque(exchange!).takeUnretainedValue()
          .upgraded(UnsafeRawBufferPointer(start: received, count: count), handle!)
      }, nil)
    Self.add(Self.idHeader, id.text, to: response)
    if let traceParent { Self.add(Self.traceHeader, traceParent, to: response) }
    for header in headers { Self.add(header.name, header.value, to: response) }
    return settle(status: 101, response: response, successor: TakenOverConnection(server.sockets, delegate: delegate))
  }

  private func settle(status: UInt32, response: OpaquePointer?, successor: TakenOverConnection) -> TakenOverConnection {
    handler = nil
    if settle(status, response) { self.successor = successor } else { server.hasGone(successor) }
    return successor
  }

  private static let idHeader: StaticString = "X-Request-Id"
  private static let traceHeader: StaticString = "traceparent"

  /// Adds the headers that every answer has, from each sender.
  func addCommonHeaders(_ add: (StaticString, String) -> Void) {
    // What the bytes of a value look like is up to the client that has put them: no browser is to guess (Fetch
    // Standard, "`X-Content-Type-Options` header").
    add("X-Content-Type-Options", "nosniff")
    add(Self.idHeader, id.text)
    if let traceParent { add(Self.traceHeader, traceParent) }
    CrossOrigin.addHeaders(for: head.origin, server.origins, add)
  }

  /// Where chunks are read laxly, and trailers like heads, what comes after them may be something else for a proxy in
  /// front.
  private var isLastOfConnection: Bool { server.isLax && head.isChunked }

  /// A `String` that is passed to C as it is would be copied to the heap.
  private static func add(_ name: StaticString, _ value: String, to response: OpaquePointer?) {
    _ = value.withCString { MHD_add_response_header(response, name.cString, $0) }
  }

  private func answer(
    _ status: UInt32, _ contentType: StaticString?, _ headers: HTTPResponse.Headers, _ response: OpaquePointer?
  ) {
    if let contentType { MHD_add_response_header(response, "Content-Type", contentType.cString) }
    addCommonHeaders { Self.add($0, $1, to: response) }
    if server.isDraining || isLastOfConnection { MHD_add_response_header(response, "Connection", "close") }
    for header in headers { Self.add(header.name, header.value, to: response) }
    _ = settle(status, response)
  }

  /// - Returns: whether the answer is taken. It comes too late if the client has disconnected.
  private func settle(_ status: UInt32, _ response: OpaquePointer?) -> Bool {
    switch phase.answer() {
    case .taken(let resumes):
      if status != 0 { record.status = status }
      gate = nil
      self.status = status
      self.response = response
      if resumes { server.resume(connection) }
      return true
    case .second:
      // A fault of a handler's, which is not to be one of all others' requests.
      server.logger.critical(
        "a request was answered twice: its connection is cut", metadata: ["request_id": "\(id.text)"])
      client.cut()
      clientIsGone()
    case .tooLate: break
    }
    if let response { MHD_destroy_response(response) }
    return false
  }
}

/// What a status means, in words (RFC 9110, section 15).
package func reasonPhrase(_ status: UInt32) -> String { String(cString: MHD_get_reason_phrase_for(status)) }

extension StaticString {
  func isNot(_ other: StaticString) -> Bool { strcasecmp(cString, other.cString) != 0 }
}
