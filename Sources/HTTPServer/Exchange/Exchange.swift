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
  // Read and written many times a request, like the phase. Unchecked, as only the loop's thread uses it, and no access
  // calls anything.
  @exclusivity(unchecked) package var record = RequestRecord()
  /// What the service keeps for the request.
  package var context: AnyObject?
  /// The `traceparent` of the answer (W3C Trace Context); nil if it has none.
  @exclusivity(unchecked) package var traceParent: String?
  /// The ID of the request in logs.
  package let id: RequestID
  let connection: OpaquePointer
  let client: ClientConnection
  // Invariant: libmicrohttpd ends every request before the server is released. Unsafe, as it is used often.
  unowned(unsafe) let server: HTTPServer
  private var handler: (any RequestHandler)?
  private var gate: (any RequestGate)?
  private var bodyLimit: BodyLimit
  @exclusivity(unchecked) private var phase = ExchangePhase.receiving
  private var bodyCount: UInt64 = 0
  /// Since when, in the loop's milliseconds, and from which byte of the body on its rate is measured.
  private var rateStart: (time: UInt64, count: UInt64)
  /// Whether libmicrohttpd looks at the connection in each of its runs.
  private var isAttended = false
  private var hasBadChunkLine = false
  /// The bytes of an early answer (``sendEarly(_:contentType:)``) that the system has not taken yet; nil if no such
  /// answer has begun.
  var early: ByteQueue?
  /// Whether a line feed follows a streamed answer.
  private var owesLineFeed = false
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
    bodyLimit = server.limits.body
    rateStart = (server.loop.now, 0)
    client.exchange = self
  }

  deinit {
    if let response { MHD_destroy_response(response) }
  }

  /// Whether the answer may take long by design, or has no end: then it does not wait for a client that may have left.
  package var isEndless: Bool { handler?.isEndless ?? false }

  /// What a trusted proxy says of the client and its request; without one, what the connection shows.
  private(set) lazy var forwarded: Forwarded = {
    guard let fields = head.forwarded else { return Forwarded(client: client.address) }
    let proxies = server.limits.proxies
    return fields.resolve(from: client.address) { proxies.contains($0) }
  }()

  /// Whether the request is being executed, or will be, so that its answer may begin.
  var mayBeginEarly: Bool { bytesReceived > 0 && phase.mayBeginEarly }

  /// How much of the body has come, in bytes.
  package var bytesReceived: UInt64 { bodyCount }

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
    guard limits.bodyRate > 0, phase == .receiving else { return false }
    let time = now - rateStart.time
    guard time >= RequestClock.Limits.rateSpan else { return false }
    let (least, overflows) = UInt64(limits.bodyRate).multipliedReportingOverflow(by: time)
    if overflows || (bodyCount - rateStart.count) * 1000 < least { return true }
    rateStart = (now, bodyCount)
    return false
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
    handler = server.service.handler(for: self)
    guard phase == .receiving else { return queue() }
    if handler?.bodyUse == .asItComes { bodyLimit = .none }
    if let limit = handler?.bodyLimit { bodyLimit = limit }
    if let length = head.contentLength, length > UInt64(bodyLimit.bytes) {
      // This comes before the 100 for which the client may wait.
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
      // libmicrohttpd does not give up a suspended connection. The answer follows when the connection continues.
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
    rateStart = (server.loop.now, bodyCount)
    server.resume(connection)
  }

  /// How many of the last bytes of the body are counted as kept: those beyond what any connection may keep.
  private func countedBytes(ofLast count: Int) -> Int {
    let kept = Int(bodyCount)
    return max(0, kept - MemoryAccount.uncounted) - max(0, kept - count - MemoryAccount.uncounted)
  }

  /// Whether the line before a chunk of the body is correct, as far as it can be seen.
  private func hasSoundChunkLine(before bytes: UnsafeRawBufferPointer) -> Bool {
    guard server.isLax && head.isChunked, let piece = bytes.bindMemory(to: UInt8.self).baseAddress else { return true }
    return ChunkLine.isSound(from: head.end, to: piece, within: HTTPServer.Limits.connectionMemory)
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
      // Without chunks the end of the body is the end of the connection.
      if head.isHTTP10 { server.attend(connection) }
      return -1  // MHD_CONTENT_READER_END_OF_STREAM
    case .broken:
      handler = nil
      client.termination?.breakOff()
      // If libmicrohttpd closed it right here, it would forget the connection until some timeout (0.9.75 and 1.0.1).
      server.attend(connection)
      return -2  // MHD_CONTENT_READER_END_WITH_ERROR
    }
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
  fileprivate func upgraded(_ received: UnsafeRawBufferPointer, _ handle: OpaquePointer) {
    if let successor {
      self.successor = nil
      client.takeover = Takeover(successor, of: client, received: Array(received))
    }
    _ = close_upgraded(handle)
    server.needsRunSoon()
  }

  /// The client has closed its sending side. If the connection is not suspended, libmicrohttpd notices by itself.
  package func clientIsGone() {
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

  // MARK: - From the handler

  package static let lineFeed = UInt8(ascii: "\n")

  /// Whether a body gets a line feed at its end, which no handler writes. JSON does, so that a terminal's next prompt
  /// begins a line.
  static func endsLine(_ contentType: StaticString?) -> Bool {
    contentType.map { $0.bytes.isEqual(to: MediaType.json.name) } ?? false
  }

  /// Notes an answer whose body is known.
  ///
  /// - Parameters:
  ///   - count: the size of the body in bytes.
  ///   - errorCode: the code of an error.
  func willSend(_ count: Int, _ errorCode: Int? = nil) {
    record.errorCode = errorCode
    if head.method != .head { record.bytesSent = count }
  }

  /// Answers with an error.
  package func refuse(_ error: RequestError) { respond(server.service.response(to: error)) }

  /// Answers with a response that is whole.
  ///
  /// If the request is not complete yet, it is answered all the same, and the rest of it is discarded.
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

  /// Answers with bytes that several answers share. The request must be complete.
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
  /// - Parameter length: the size of the body in bytes, which the client gets; nil if it is unknown.
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
    // libmicrohttpd 0.9.75 ends the body even for a HEAD, by a last chunk, which then belongs to the next answer.
    if length == nil && head.method == .head { without_chunks(response) }
    answer(status, contentType, headers, response)
  }

  /// A streamed answer has more to read, or has ended.
  package func streamIsReadable() {
    if phase.feed() { server.resume(connection) }
  }

  /// Takes the connection over, in place of an answer by libmicrohttpd.
  ///
  /// - Parameter status: the status of the answer.
  /// - Returns: the socket, to which the answer is sent from its status line on. `delegate` is notified if the
  ///   connection is lost before the takeover.
  package func takeOver(
    answering status: UInt32, delegate: (any TakenOverConnectionDelegate)?
  ) -> TakenOverConnection {
    record.status = status
    return settle(status: 0, response: nil, successor: TakenOverConnection(server.sockets, delegate: delegate))
  }

  /// Answers with 101 and takes the connection over for another protocol (RFC 9110, section 7.8).
  ///
  /// - Parameter headers: the headers of the answer besides `Connection` and `Date`; `Upgrade` must be among them.
  /// - Returns: the socket, to which messages of that protocol are sent. `delegate` is notified if the connection is
  ///   lost before the takeover. It receives the bytes that the client has sent after its request first, whether or not
  ///   the socket reads.
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

  /// Adds the headers that every answer has, whichever code sends it.
  func addCommonHeaders(_ add: (StaticString, String) -> Void) {
    // Clients that write a value decide what its bytes look like: no browser may guess its type (Fetch Standard,
    // "`X-Content-Type-Options` header").
    add("X-Content-Type-Options", "nosniff")
    add(Self.idHeader, id.text)
    if let traceParent { add(Self.traceHeader, traceParent) }
    CrossOrigin.addHeaders(for: head.origin, server.origins, add)
  }

  /// If libmicrohttpd reads chunks laxly, and trailers like heads, a proxy in front may take the bytes after them for
  /// something else.
  private var isLastOfConnection: Bool { server.isLax && head.isChunked }

  /// A `String` that is passed to C directly would be copied to the heap.
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

  /// - Returns: whether the answer is accepted. It is too late if the client has disconnected.
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
}

/// What a status means, in words (RFC 9110, section 15).
package func reasonPhrase(_ status: UInt32) -> String { String(cString: MHD_get_reason_phrase_for(status)) }

extension StaticString {
  func isNot(_ other: StaticString) -> Bool { strcasecmp(cString, other.cString) != 0 }
}
