internal import CMicrohttpd
import Glibc

/// The bytes of a header value, in the memory of the connection: valid until the request is completed.
typealias HeaderValue = UnsafeBufferPointer<UInt8>

/// What the gateway looks at of a request's head.
///
/// Its pointers are into libmicrohttpd's memory of the connection, which lives until the request is completed.
struct RequestHead {
  /// The path as it was sent, without the query and not decoded.
  let path: UnsafeBufferPointer<UInt8>
  let method: HTTPMethod
  var authorization: HeaderValue?
  /// The host that the client asks for, or the proxy that passes the request on.
  var host: HeaderValue?
  /// What the client would have the answer in, of the types that it names and the gateway knows.
  var accepted: MediaType?
  /// Conditions of the request (RFC 9110, section 13.1), each a list that may go on in the next line.
  var ifMatch: [HeaderValue] = []
  var ifNoneMatch: [HeaderValue] = []
  /// Whether the client asks for strict handling of its input (`Prefer: handling=strict`, RFC 7240).
  var isStrict = false
  var grpcTimeout: HeaderValue?
  var requestTimeout: HeaderValue?
  var contentLength: UInt64?
  var hasContentEncoding = false
  /// Which page the request comes from, where a browser says so (RFC 6454, section 7).
  var origin: HeaderValue?
  /// How far the page is from here that the request comes from, where a browser says so (Fetch Metadata Request Headers).
  var fetchSite: HeaderValue?
  /// The last event that a client has seen of a stream that it goes on with (HTML Standard, section 9.2.4).
  var lastEventID: HeaderValue?
  /// Whether a browser asks what a page may ask for (Fetch Standard, "CORS-preflight request").
  var isPreflight = false
  /// Whether the client would rather go on as a WebSocket.
  var asksForWebSocket = false
  /// Why the request can be read in more than one way, which is how requests are smuggled past a proxy (RFC 9112,
  /// section 6.3).
  var fault: String?
  /// Whether the client knows of HTTP/1.0 only, and so not of chunks.
  let isHTTP10: Bool
  /// What proxies say of the request; nil where the client is no proxy that is believed.
  private(set) var forwarded: ForwardedFields?
  private var isChunked = false
  /// Whether the body may be more than comes in one piece.
  var mayHaveLargeBody: Bool { isChunked || contentLength ?? 0 > UInt64(MemoryAccount.uncounted) }
  /// The size of the request line and all headers, in bytes.
  let size: Int

  init(
    _ connection: OpaquePointer, path: UnsafePointer<CChar>, method: UnsafePointer<CChar>,
    version: UnsafePointer<CChar>,
    readsForwarded: Bool
  ) {
    forwarded = readsForwarded ? ForwardedFields() : nil
    isHTTP10 = strcmp(version, "HTTP/1.0") == 0
    self.path = UnsafeRawBufferPointer(start: path, count: strlen(path)).bindMemory(to: UInt8.self)
    self.method = HTTPMethod(method)
    size = request_header_size(connection)
    withUnsafeMutablePointer(to: &self) { head in
      _ = MHD_get_connection_values_n(
        connection, .HEADER_KIND,
        { context, _, name, nameSize, value, valueSize in
          let head = context!.assumingMemoryBound(to: RequestHead.self)
          head.pointee.take(name!, nameSize, UnsafeRawBufferPointer(start: value, count: valueSize))
          return .YES
        }, head)
    }
  }

  private mutating func take(_ name: UnsafePointer<CChar>, _ nameSize: Int, _ value: UnsafeRawBufferPointer) {
    func isNamed(_ other: StaticString) -> Bool {
      strncasecmp(name, other.cString, nameSize) == 0
    }
    let value = value.bindMemory(to: UInt8.self)
    switch nameSize {
    case 4 where isNamed("host"): host = value
    case 6 where isNamed("accept"): accepted = accepted ?? MediaType(firstIn: value)
    case 6 where isNamed("origin"): origin = value
    case 6 where isNamed("prefer"): isStrict = isStrict || Preference.isStrict(value)
    case 7 where isNamed("upgrade"):
      asksForWebSocket = asksForWebSocket || WebSocketHandshake.isAskedFor(by: value)
    case 8 where isNamed("if-match"): ifMatch.append(value)
    case 12 where isNamed("grpc-timeout"): grpcTimeout = value
    case 13 where isNamed("if-none-match"): ifNoneMatch.append(value)
    case 13 where isNamed("authorization"):
      // Whoever looked at the request before us may have looked at the other one.
      if authorization != nil { fault = "the request has more than one Authorization header" }
      authorization = value
    case 14 where isNamed("sec-fetch-site"): fetchSite = value
    case 13 where isNamed("last-event-id"): lastEventID = value
    case 14 where isNamed("content-length"):
      if contentLength != nil || isChunked { fault = "the request has more than one length" }
      contentLength = UInt64(String(decoding: value, as: UTF8.self))
    case 17 where isNamed("transfer-encoding"):
      if contentLength != nil || isChunked { fault = "the request has more than one length" }
      isChunked = true
      if String(decoding: value, as: UTF8.self).lowercased() != "chunked" {
        fault = "the only transfer encoding that is understood is chunked"
      }
    case 15 where isNamed("request-timeout"): requestTimeout = value
    case 16 where isNamed("content-encoding"):
      hasContentEncoding = String(decoding: value, as: UTF8.self).lowercased() != "identity"
    case 29 where isNamed("access-control-request-method"): isPreflight = method == .options
    default:
      forwarded?.take(UnsafeRawBufferPointer(start: name, count: nameSize).bindMemory(to: UInt8.self), value)
    }
  }
}

/// The methods the gateway knows (RFC 9110, section 9).
enum HTTPMethod {
  case get, head, post, put, delete, options, other

  init(_ text: UnsafePointer<CChar>) {
    self =
      if strcmp(text, "POST") == 0 {
        .post
      } else if strcmp(text, "GET") == 0 {
        .get
      } else if strcmp(text, "HEAD") == 0 {
        .head
      } else if strcmp(text, "PUT") == 0 {
        .put
      } else if strcmp(text, "DELETE") == 0 {
        .delete
      } else if strcmp(text, "OPTIONS") == 0 {
        .options
      } else {
        .other
      }
  }

  /// Whether a request changes nothing (RFC 9110, section 9.2.1).
  var isSafe: Bool {
    switch self {
    case .get, .head, .options: true
    case .post, .put, .delete, .other: false
    }
  }
}

/// The preferences of a request that the gateway honours (RFC 7240).
enum Preference {
  /// Whether `handling=strict` (RFC 7240, section 4.4) is among the preferences.
  static func isStrict(_ header: HeaderValue) -> Bool {
    String(decoding: header, as: UTF8.self).lowercased().split(separator: ",").contains { preference in
      preference.split(separator: ";").first?.filter { $0 != " " && $0 != "\"" } == "handling=strict"
    }
  }
}
