import ByteBuffers
import Glibc

/// The parts of a request's head that the gateway uses.
///
/// Its pointers are into the connection's memory, which lives until the request is completed.
package struct RequestHead: ~Copyable {
  /// The path as it was sent, without the query and not decoded; `*` for the server as a whole.
  package let path: UnsafeBufferPointer<UInt8>
  /// The target; nil if it is malformed, which is a ``fault``.
  let target: RequestTarget?
  package let method: HTTPMethod
  package var authorization: HeadBytes?
  /// The host in the request, perhaps by a proxy that forwards it, with the port if there is one.
  private(set) var host: HeadBytes?
  /// The first type of answer that the client names and the gateway knows.
  package var accepted: MediaType?
  /// The client's own ID of the request.
  private(set) var requestID: HeadBytes?
  /// The trace of the request (W3C Trace Context). The state may have several fields.
  package private(set) var traceParent: HeadBytes?
  package private(set) var traceState: [HeadBytes] = []
  /// Conditions of the request (RFC 9110, section 13.1). Each is a list that may continue in another field.
  package var ifMatch: [HeadBytes] = []
  package var ifNoneMatch: [HeadBytes] = []
  /// Whether the client wants strict handling of its input (`Prefer: handling=strict`, RFC 7240).
  package var isStrict = false
  package var grpcTimeout: HeadBytes?
  package var requestTimeout: HeadBytes?
  package var hasContentEncoding = false
  /// Whether the body consists of JSON documents, one on each line.
  package private(set) var hasLines = false
  /// Whether the body is only a part (RFC 9110, section 14.4).
  package var hasContentRange = false
  /// The origin of the page that makes the request, if a browser says so (RFC 6454, section 7).
  var origin: HeadBytes?
  /// The relation between the page's site and the gateway's, if a browser says so (Fetch Metadata Request Headers).
  var fetchSite: HeadBytes?
  /// The last event of a stream that the client has seen, if it resumes one (HTML Standard, section 9.2.4).
  package var lastEventID: HeadBytes?
  /// Whether a browser asks which requests a page may make (Fetch Standard, "CORS-preflight request").
  var isPreflight = false
  /// Whether the client wants to switch to a WebSocket.
  package var asksForWebSocket = false
  /// Why the request can be read in more than one way, by which requests are smuggled past a proxy (RFC 9112, section
  /// 6.3).
  var fault: String?
  /// What proxies say about the request; nil if the client is no trusted proxy.
  private(set) var forwarded: ForwardedFields?
  /// Whether the body may be larger than what comes in one piece.
  package var mayHaveLargeBody: Bool { isChunked || contentLength ?? 0 > UInt64(MemoryAccount.uncounted) }
  /// The checks of the head's form, and of its fields about length and host.
  private var check: HeadCheck
  /// The size of the request line and all headers, in bytes.
  let size: Int
  /// The end of the head in the connection's memory.
  let end: UnsafePointer<UInt8>

  var contentLength: UInt64? { check.contentLength }
  var isChunked: Bool { check.isChunked }
  /// Whether a proxy in front may have found another end of the request.
  var hasUncertainEnd: Bool { check.hasUncertainEnd }
  package var isHTTP10: Bool { check.isHTTP10 }

  /// - Parameter connection: has the fields.
  init(_ line: RequestLine, from connection: some RequestConnection, readsForwarded: Bool) {
    forwarded = readsForwarded ? ForwardedFields() : nil
    check = HeadCheck(method: line.method, target: line.target, version: line.version, lineEnds: line.lineEnds)
    target = RequestTarget(line.target)
    path = target?.path ?? HeadBytes(start: nil, count: 0)
    method = HTTPMethod(line.method)
    size = line.head.count
    end = line.head.end
    connection.readFields(into: &self)
    check.finish(end: end)
    if let authority = target?.authority { host = authority }
    fault = check.fault ?? fault
    if fault == nil && target == nil { fault = "the request target is neither a path nor an http URL" }
  }

  /// Refuses a second field of a kind that may occur once: a proxy in front of the gateway may have used the other one.
  private mutating func takeOnce(_ former: HeadBytes?, _ name: StaticString) {
    if former != nil { fault = "the request has more than one \(name) header" }
  }

  /// Takes a field.
  ///
  /// - Parameter untrimmed: its value, perhaps with blanks at its end.
  package mutating func take(_ nameBytes: HeadBytes, _ untrimmed: HeadBytes) {
    check.take(name: nameBytes, value: untrimmed)
    let value = untrimmed.trimmed
    let nameSize = nameBytes.count
    guard let name = UnsafeRawPointer(nameBytes.baseAddress)?.assumingMemoryBound(to: CChar.self) else { return }
    func isNamed(_ other: StaticString) -> Bool {
      strncasecmp(name, other.cString, nameSize) == 0
    }
    switch nameSize {
    case 4 where isNamed("host"): host = value
    case 6 where isNamed("accept"):
      if accepted == nil || accepted == .html { accepted = MediaType(firstIn: value) ?? accepted }
    case 6 where isNamed("origin"): origin = value
    case 6 where isNamed("prefer"): isStrict = isStrict || Preference.isStrict(value)
    case 7 where isNamed("upgrade"):
      asksForWebSocket = asksForWebSocket || WebSocketHandshake.isAskedFor(by: value)
    case 8 where isNamed("if-match"): ifMatch.append(value)
    case 10 where isNamed("tracestate"): traceState.append(value)
    // Two fields make both invalid (W3C Trace Context, section 3.2: one value).
    case 11 where isNamed("traceparent"): traceParent = traceParent == nil ? value : HeadBytes(start: nil, count: 0)
    case 12 where isNamed("grpc-timeout"):
      takeOnce(grpcTimeout, "Grpc-Timeout")
      grpcTimeout = value
    case 12 where isNamed("content-type"): hasLines = MediaType.isLines(value)
    case 12 where isNamed("x-request-id"): requestID = requestID ?? value
    case 13 where isNamed("if-none-match"): ifNoneMatch.append(value)
    case 13 where isNamed("authorization"):
      takeOnce(authorization, "Authorization")
      authorization = value
    case 14 where isNamed("sec-fetch-site"): fetchSite = value
    case 13 where isNamed("last-event-id"):
      takeOnce(lastEventID, "Last-Event-ID")
      lastEventID = value
    case 13 where isNamed("content-range"): hasContentRange = true
    case 15 where isNamed("request-timeout"):
      takeOnce(requestTimeout, "Request-Timeout")
      requestTimeout = value
    case 16 where isNamed("content-encoding"):
      hasContentEncoding = String(decoding: value, as: UTF8.self).lowercased() != "identity"
    case 29 where isNamed("access-control-request-method"): isPreflight = method == .options
    default:
      forwarded?.take(UnsafeRawBufferPointer(start: name, count: nameSize).bindMemory(to: UInt8.self), value)
    }
  }
}
