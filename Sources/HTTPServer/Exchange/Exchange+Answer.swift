internal import ByteBuffers
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
    willSend(answer.body.count, answer.errorCode)
    _ = settle(
      Answer(
        status: answer.status, contentType: answer.contentType, headers: answer.headers, body: .own(answer.body)))
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
    _ = settle(Answer(status: status, contentType: contentType, headers: headers, body: .constant(body)))
  }

  /// Answers with bytes that several answers share. The request must be complete.
  package func respond(
    _ status: UInt32, contentType: StaticString, shared body: SharedBody, headers: HTTPResponse.Headers = []
  ) {
    willSend(body.bytes.count)
    _ = settle(Answer(status: status, contentType: contentType, headers: headers, body: .shared(body)))
  }

  /// Answers with a stream that is read from the handler.
  ///
  /// - Parameter length: the size of the body in bytes, which the client gets; nil if it is unknown.
  package func respond(
    streaming status: UInt32, contentType: StaticString, length: UInt64? = nil, headers: HTTPResponse.Headers
  ) {
    owesLineFeed = Self.endsLine(contentType)
    _ = settle(
      Answer(status: status, contentType: contentType, headers: headers, body: .streamed(length: length)),
      isRead: true)
  }

  /// Takes the connection over, in place of an answer by the connection.
  ///
  /// - Parameter status: the status of the answer.
  /// - Returns: the socket, to which the answer is sent from its status line on. `delegate` is notified if the
  ///   connection is lost before the takeover.
  package func takeOver(
    answering status: UInt32, delegate: (any TakenOverConnectionDelegate)?
  ) -> TakenOverConnection {
    record.status = status
    return settle(nil, successor: TakenOverConnection(server.sockets, delegate: delegate, isEndless: isEndless))
  }

  /// Answers with 101 and takes the connection over for another protocol (RFC 9110, section 7.8).
  ///
  /// - Parameter headers: the headers of the answer besides `Connection` and `Date`; `Upgrade` must be among them.
  /// - Returns: the socket, to which messages of that protocol are sent. `delegate` is notified if the connection is
  ///   lost before the takeover. It receives the bytes that the client has sent after its request first, whether or not
  ///   the socket reads.
  package func upgrade(headers: HTTPResponse.Headers, delegate: any TakenOverConnectionDelegate) -> TakenOverConnection
  {
    settle(
      Answer(status: 101, contentType: nil, headers: headers, body: .upgrade),
      successor: TakenOverConnection(server.sockets, delegate: delegate))
  }

  private static let idHeader: StaticString = "X-Request-Id"
  private static let traceHeader: StaticString = "traceparent"

  /// Adds the headers that every answer has, whichever code sends it.
  func addCommonHeaders(_ add: (StaticString, String) -> Void) {
    // Clients that write a value decide what its bytes look like: no browser may guess its type (Fetch Standard,
    // "`X-Content-Type-Options` header").
    add("X-Content-Type-Options", "nosniff")
    addNames(add)
    CrossOrigin.addHeaders(for: head.origin, server.origins, add)
  }

  /// Adds the headers that say which request and which trace it is.
  private func addNames(_ add: (StaticString, String) -> Void) {
    add(Self.idHeader, id.text)
    if let traceParent { add(Self.traceHeader, traceParent) }
  }

  /// Passes on the header fields of an answer, except for the type and the size of its body.
  ///
  /// - Parameter headers: its own fields.
  package func fields(of status: UInt32, _ headers: HTTPResponse.Headers, _ add: (StaticString, String) -> Void) {
    if status == 101 {
      addNames(add)
    } else {
      addCommonHeaders(add)
      if server.isDraining || head.hasUncertainEnd { add("Connection", "close") }
    }
    for header in headers { add(header.name, header.value) }
  }
}

extension StaticString {
  func isNot(_ other: StaticString) -> Bool { strcasecmp(cString, other.cString) != 0 }
}
