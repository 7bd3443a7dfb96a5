/// Bytes that a client may send in place of a request, and their outcome.
struct HostileHead: Sendable, CustomStringConvertible {
  enum Outcome: Equatable, Sendable {
    /// Answered with this status.
    case served(Int)
    /// Answered once, with 400 in the form of all errors, and the connection closed. libmicrohttpd 1.0.10 answers 501
    /// for codings of the body that it does not know.
    case refused
    /// The same if it comes as a whole. If it comes in pieces, it is perhaps answered, as the last of its connection.
    case refusedOrLast
    /// Answered with an error, perhaps by libmicrohttpd itself, or not at all; and the connection closed.
    case ended
  }

  let description: String
  let bytes: [UInt8]
  let outcome: Outcome

  init(_ description: String, _ text: String, _ outcome: Outcome = .refused) {
    self.description = description
    bytes = Array(text.utf8)
    self.outcome = outcome
  }
}

extension HostileHead {
  /// A write that no strict reader finds in the requests below: it must never be executed.
  static let hiddenKey = "hidden"
  private static let hidden = "PUT /keys/\(hiddenKey) HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nS"
  private static let count = hidden.utf8.count
  private static let host = "Host: x\r\n"
  private static let post = "POST /v3/kv/range HTTP/1.1\r\n" + host
  private static let get = "GET /livez HTTP/1.1\r\n" + host
  /// A body of chunks for a reader that uses `Transfer-Encoding`, and of 14 bytes for one that uses the length.
  private static let twoBodies = "\(String(count + 11, radix: 16))\r\n          " + hidden
  private static let last = "0\r\n\r\n"

  static let all = lines + fields + hosts + lengths + targets + served

  // The ends and beginnings of lines (RFC 9112, sections 2.2 and 5).
  private static let lines = [
    HostileHead("a method and nothing else", "GET\r\nHost: x\r\n\r\n" + hidden),
    HostileHead("tabs in the request line", "GET\t/livez\tHTTP/1.1\r\nHost: x\r\n\r\n" + hidden),
    HostileHead("a request line that begins with a blank", " GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + hidden),
    HostileHead("a line that is no request", "hello\r\n\r\n" + hidden),
    HostileHead("what TLS begins with", "\u{16}\u{03}\u{01}\u{02}\0\u{01}\0\n\n"),
    HostileHead("a blank before the colon of a length", post + "Content-Length : \(count)\r\n\r\n" + hidden),
    HostileHead("a tab before the colon of a length", post + "Content-Length\t: \(count)\r\n\r\n" + hidden),
    HostileHead(
      "a blank before the colon of a coding",
      post + "Content-Length: 14\r\nTransfer-Encoding : chunked\r\n\r\n" + twoBodies),
    HostileHead("a folded line after a length", post + "Content-Length: \(count)\r\n folded\r\n\r\n" + hidden),
    HostileHead("a line folded with a tab", post + "Content-Length: \(count)\r\n\tfolded\r\n\r\n" + hidden),
    HostileHead("a length on a folded line", post + "Content-Length:\r\n \(count)\r\n\r\n" + hidden),
    HostileHead(
      "a coding on a folded line", post + "Content-Length: 14\r\nTransfer-Encoding:\r\n chunked\r\n\r\n" + twoBodies),
    HostileHead("a folded line of blanks", get + "X: a\r\n   \r\n\r\n"),
    HostileHead("two folded lines", get + "X: a\r\n b\r\n c\r\nY: d\r\n\r\n"),
    HostileHead("a folded line that looks like a field", get + "X: a\r\n Content-Length: 5\r\n\r\n"),
    HostileHead("a folded Host", "GET /livez HTTP/1.1\r\nHost:\r\n x\r\n\r\n"),
    HostileHead("a first line that begins with a blank", "GET /livez HTTP/1.1\r\n X: a\r\nHost: x\r\n\r\n"),
    HostileHead("a first line of a blank", "GET /livez HTTP/1.1\r\n \r\nHost: x\r\n\r\n", .ended),
    HostileHead("a colon and nothing else", get + ":\r\n" + hidden),
    HostileHead("a name that is empty", get + ": a\r\n" + hidden),
    HostileHead("a name that is empty, in the middle", get + ": a\r\nX: b\r\n\r\n"),
    HostileHead("a line that begins with NUL", get + "\0: x\r\n" + hidden),
    HostileHead("a line of NUL", get + "\0\r\n" + hidden),
    HostileHead("two NULs in the place of CRLF", get + "X: a\0\0" + hidden, .ended),
    HostileHead("a line of NULs and an end", get + "\0\0\0\r\n" + hidden),
    HostileHead("NUL after a coding", post + "Transfer-Encoding: chunked\0, identity\r\n\r\n0\r\n\r\n" + hidden),
    HostileHead("NUL after a length", post + "Content-Length: 0\0\(count)\r\n\r\n" + hidden),
    HostileHead("NUL in a value", get + "X: a\0b\r\n\r\n"),
    HostileHead("NUL in a name", get + "X\0: a\r\n\r\n", .ended),
    HostileHead("CR between two fields", post + "X: y\rContent-Length: \(count)\r\n\r\n" + hidden),
    HostileHead("CR in a value", get + "X: a\rb\r\n\r\n"),
    HostileHead("CR before CRLF", get + "X: a\r\r\n\r\n"),
    HostileHead("LF alone between two fields", "GET /livez HTTP/1.1\r\nHost: x\nX: a\r\n\r\n"),
    HostileHead("LF alone after the request line", "GET /livez HTTP/1.1\nHost: x\r\n\r\n"),
    HostileHead("LF alone at the end", get + "X: a\r\n\n"),
    HostileHead("LF alone everywhere", "GET /livez HTTP/1.1\nHost: x\n\n"),
    HostileHead("LF, a colon and an end", "GET /livez HTTP/1.1\r\nHost: x\n:\r\n" + hidden, .refusedOrLast),
    HostileHead("LF, NUL and an end", "GET /livez HTTP/1.1\r\nHost: x\n\0\r\n" + hidden, .refusedOrLast),
    HostileHead("an end, NUL and LF", get + "\0\n" + hidden, .refusedOrLast),
    HostileHead("NUL and LF between two fields", get + "X: a\0\nY: b\r\n\r\n", .refusedOrLast),
    HostileHead("NUL and LF at the end", get + "X: a\0\n\r\n" + hidden, .refusedOrLast),
    HostileHead("a line without a colon", get + "nonsense\r\n\r\n", .ended),
  ]

  // The parts of fields (RFC 9110, section 5).
  private static let fields = [
    HostileHead("a blank in a name", get + "X y: a\r\n\r\n"),
    HostileHead("a tab in a name", get + "X\ty: a\r\n\r\n"),
    HostileHead("a slash in a name", get + "X/y: a\r\n\r\n"),
    HostileHead("quotes in a name", get + "\"X\": a\r\n\r\n"),
    HostileHead("brackets in a name", get + "X[]: a\r\n\r\n"),
    HostileHead("a name beyond ASCII", get + "Xé: a\r\n\r\n"),
    HostileHead("a control character in a name", get + "X\u{1}: a\r\n\r\n"),
    HostileHead("DEL in a name", get + "X\u{7F}: a\r\n\r\n"),
    HostileHead("a control character in a value", get + "X: a\u{1}b\r\n\r\n"),
    HostileHead("ESC in a value", get + "X: \u{1B}[2J\r\n\r\n"),
    HostileHead("DEL in a value", get + "X: a\u{7F}\r\n\r\n"),
    HostileHead("VT before a coding", post + "Transfer-Encoding: \u{B}chunked\r\n\r\n0\r\n\r\n" + hidden),
    HostileHead("two Authorizations", get + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
    HostileHead("a method that is no token", "GE[T /livez HTTP/1.1\r\nHost: x\r\n\r\n", .ended),
  ]

  // The host (RFC 9112, section 3.2; RFC 9110, section 7.2).
  private static let hosts = [
    HostileHead("no Host", "GET /livez HTTP/1.1\r\n\r\n"),
    HostileHead("no Host among others", "GET /livez HTTP/1.1\r\nX: a\r\n\r\n"),
    HostileHead("two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    HostileHead("the same Host twice", "GET /livez HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    HostileHead("two Hosts in HTTP/1.0", "GET /livez HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    HostileHead("an empty Host", "GET /livez HTTP/1.1\r\nHost:\r\n\r\n"),
    HostileHead("a blank Host", "GET /livez HTTP/1.1\r\nHost:   \r\n\r\n"),
    HostileHead("a Host with a path", "GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    HostileHead("a Host with a user", "GET /livez HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    HostileHead("two names in a Host", "GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n"),
    HostileHead("a port that is none", "GET /livez HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    HostileHead("two ports", "GET /livez HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    HostileHead("half an IPv6 address", "GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    HostileHead("a port alone", "GET /livez HTTP/1.1\r\nHost: :80\r\n\r\n"),
  ]

  // The length of the request (RFC 9112, section 6).
  private static let lengths = [
    HostileHead("a length that is none", post + "Content-Length: abc\r\n\r\n"),
    HostileHead("an empty length", post + "Content-Length:\r\n\r\n"),
    HostileHead("a length below 0", post + "Content-Length: -1\r\n\r\n"),
    HostileHead("a length with a sign", post + "Content-Length: +1\r\n\r\n{"),
    HostileHead("a hexadecimal length", post + "Content-Length: 0x2\r\n\r\n{}"),
    HostileHead("a list of lengths", post + "Content-Length: 2, 2\r\n\r\n{}"),
    HostileHead("a length beyond 64 bits", post + "Content-Length: 18446744073709551616\r\n\r\n", .ended),
    HostileHead("two lengths", post + "Content-Length: 2\r\nContent-Length: 1\r\n\r\n{}"),
    HostileHead("the same length twice", post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    HostileHead("a length and a coding", post + "Content-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n" + twoBodies),
    HostileHead("a coding and a length", post + "Transfer-Encoding: chunked\r\nContent-Length: 14\r\n\r\n" + twoBodies),
    HostileHead("another coding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + last),
    HostileHead("no coding", post + "Transfer-Encoding: identity\r\n\r\n"),
    HostileHead("chunked twice", post + "Transfer-Encoding: chunked, chunked\r\n\r\n" + last),
    HostileHead("two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + last),
    HostileHead("chunks in HTTP/1.0", "POST /v3/kv/range HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + last),
    HostileHead("a size that is none", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", .ended),
    HostileHead("a size below 0", post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", .ended),
    HostileHead("a size with 0x", post + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n", .ended),
    HostileHead("a size beyond 64 bits", post + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", .ended),
    HostileHead("no end of line after a chunk", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n", .ended),
    HostileHead(
      "LF alone after a size", post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n" + hidden, .ended),
    HostileHead(
      "LF alone after a chunk", post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\n1\r\n}\r\n0\r\n\r\n" + hidden, .ended),
    HostileHead(
      "LF alone in an extension", post + "Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n" + hidden, .ended),
    HostileHead(
      "a trailer that begins with NUL", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\0: x\r\n" + hidden,
      .ended),
    HostileHead(
      "a trailer that begins with a colon", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n:\r\n" + hidden,
      .ended),
  ]

  // The target (RFC 9112, section 3).
  private static let targets = [
    HostileHead("two blanks after the method", "GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("two blanks before the version", "GET /livez  HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a blank in the target", "GET /keys/a b HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a tab in the target", "GET /keys/a\tb HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("NUL in the target", "GET /livez\0 HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("CR in the target", "GET /livez\rX HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a control character in the query", "GET /livez?a=\u{1} HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a fragment", "PUT /keys/hidden#b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nS"),
    HostileHead("a path without a slash", "GET livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("an authority", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"),
    HostileHead("a URL without a host", "GET http:///livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a URL with a user", "GET http://a@b/livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("a URL of another scheme", "GET ftp://x/livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    HostileHead("no version", "GET /livez\r\nHost: x\r\n\r\n", .ended),
    HostileHead("a version to come", "GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", .ended),
    HostileHead("a version that is none", "GET /livez HTTP/1.x\r\nHost: x\r\n\r\n", .ended),
    HostileHead("a version and more", "GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n", .ended),
  ]

  // Odd, but valid.
  private static let served = [
    HostileHead("an empty line before the request", "\r\n" + get + "\r\n", .served(200)),
    HostileHead("blanks and tabs around a value", get + "X: \t a b\t \r\nHost2:a\r\n\r\n", .served(200)),
    HostileHead("an empty value", get + "X:\r\nY: \r\n\r\n", .served(200)),
    HostileHead("a value beyond ASCII", get + "X: é\r\n\r\n", .served(200)),
    HostileHead("every character of a token", get + "!#$%&'*+-.^_`|~09azAZ: a\r\n\r\n", .served(200)),
    HostileHead("a Host in capitals", "GET /livez HTTP/1.1\r\nHOST: EXAMPLE.com:8379\r\n\r\n", .served(200)),
    HostileHead("an IPv6 Host", "GET /livez HTTP/1.1\r\nHost: [::1]:8379\r\n\r\n", .served(200)),
    HostileHead("no Host in HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n", .served(200)),
    HostileHead("a URL", "GET http://example.com/livez HTTP/1.1\r\nHost: x\r\n\r\n", .served(200)),
    HostileHead("a URL of https with a port", "GET HTTPS://[::1]:1/livez?a HTTP/1.1\r\nHost: x\r\n\r\n", .served(200)),
    HostileHead("a URL without a path", "GET http://example.com HTTP/1.1\r\nHost: x\r\n\r\n", .served(200)),
    HostileHead(
      "a URL with a query and no path", "GET http://example.com?a=b HTTP/1.1\r\nHost: x\r\n\r\n", .served(200)),
    HostileHead("the server as a whole", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", .served(204)),
    HostileHead("a lookup of the server as a whole", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", .served(404)),
    HostileHead(
      "a thousand parameters", "GET /livez?" + String(repeating: "a&b=c&", count: 500) + " HTTP/1.1\r\nHost: x\r\n\r\n",
      .served(200)),
    HostileHead(
      "a hundred Cookies", get + String(repeating: "Cookie: a=b; c=d\r\n", count: 100) + "\r\n", .served(200)),
    HostileHead(
      "five hundred parameters",
      "GET /keys/a?" + (0..<500).map { "p\($0)=v" }.joined(separator: "&")
        + " HTTP/1.1\r\nHost: x\r\n\r\n", .served(400)),
    HostileHead(
      "a long query without '=' and no field",
      "GET /livez?" + String(repeating: "a", count: 15_000) + " HTTP/1.0\r\n\r\n",
      .served(200)),
    HostileHead(
      "chunks", post + "Transfer-Encoding: CHUNKED\r\n\r\n0000e\r\n{\"key\":\"YQ==\"}\r\n0\r\n\r\n", .served(200)),
    HostileHead(
      "a trailer", post + "Transfer-Encoding: chunked\r\n\r\ne\r\n{\"key\":\"YQ==\"}\r\n0\r\nX: y\r\n\r\n", .served(200)
    ),
  ]
}
