internal import ByteBuffers
internal import CMicrohttpd
import Glibc

/// The ways in which a handler answers.
extension Exchange {
  static let lineFeed = UInt8(ascii: "\n")

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
    let isEarly = answersEarly
    if !isEarly && !keeps(answer.body.count, isOwed: answer.isOwed) {
      answer = server.service.response(to: .shortage)
    }
    if answer.status == 401 && hasHead { answer.headers += server.service.challenges(to: head) }
    if Self.endsLine(answer.contentType) { answer.body.append(Self.lineFeed) }
    if isEarly { return respondEarly(answer) }
    if answer.mayBePacked { pack(&answer) }
    let (status, contentType, headers) = (answer.status, answer.contentType, answer.headers)
    willSend(answer.body.count, answer.errorCode)
    let body = answer.body.release()
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
    answer(status, contentType, headers, response, isRead: true)
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
    _ status: UInt32, _ contentType: StaticString?, _ headers: HTTPResponse.Headers, _ response: OpaquePointer?,
    isRead: Bool = false
  ) {
    if let contentType { MHD_add_response_header(response, "Content-Type", contentType.cString) }
    addCommonHeaders { Self.add($0, $1, to: response) }
    if server.isDraining || isLastOfConnection { MHD_add_response_header(response, "Connection", "close") }
    for header in headers { Self.add(header.name, header.value, to: response) }
    _ = settle(status, response, isRead: isRead)
  }
}

/// What a status means, in words (RFC 9110, section 15).
package func reasonPhrase(_ status: UInt32) -> String { String(cString: MHD_get_reason_phrase_for(status)) }

extension StaticString {
  func isNot(_ other: StaticString) -> Bool { strcasecmp(cString, other.cString) != 0 }
}
