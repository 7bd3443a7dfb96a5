import GrpcBridge

/// What pages of other origins may do: which answers a browser shows them (Fetch Standard, "CORS protocol"), and that no
/// page changes anything that is not listed.
///
/// Both are for the user of a browser. A browser sends along what a page has posted before it looks at the answer, with the
/// user's Basic credentials where it has them; and where etcd wants none, a page needs no more than the gateway's address.
enum CrossOrigin {
  /// What a page may see of an answer's head besides what it always may.
  private static let exposedHeaders =
    "ETag, Retry-After, WWW-Authenticate, Preference-Applied, Content-Disposition, X-Etcd-Revision, "
    + "X-Etcd-Create-Revision, X-Etcd-Version, X-Etcd-Lease"
  /// What a page may send besides what it always may. Said in full, as `*` would leave `Authorization` out.
  private static let allowedHeaders =
    "Accept, Authorization, Content-Type, Grpc-Timeout, If-Match, If-None-Match, Last-Event-ID, Prefer, Request-Timeout"
  /// For how long a browser need not ask again, in seconds: the most that one of the common ones goes by.
  private static let maxAge = "7200"

  /// Adds what belongs into every answer.
  ///
  /// - Parameters:
  ///   - origin: the request's `Origin` header.
  ///   - allowed: whose pages may read the answer.
  static func addHeaders(
    for origin: HeaderValue?, _ allowed: AllowedOrigins, _ add: (StaticString, String) -> Void
  ) {
    guard !allowed.isEmpty else { return }
    // Of every answer, as the one without may be what a cache gives to the next page.
    if allowed.dependsOnOrigin { add("Vary", "Origin") }
    guard let origin else { return }
    let name = String(decoding: origin, as: UTF8.self)
    switch allowed.access(name) {
    case .nothing: return
    case .anonymous: add("Access-Control-Allow-Origin", "*")
    case .full:
      add("Access-Control-Allow-Origin", name)
      add("Access-Control-Allow-Credentials", "true")
    }
    add("Access-Control-Expose-Headers", exposedHeaders)
  }

  /// Whether the request would change something for a page that may not: one of another origin that is not listed.
  static func forbids(_ exchange: Exchange, _ allowed: AllowedOrigins) -> Bool {
    let head = exchange.head
    guard let origin = head.origin, !head.method.isSafe else { return false }
    // Where the browser says so there is no need to compare: a proxy in between may have another name.
    if let site = head.fetchSite, site.elementsEqual("same-origin".utf8) { return false }
    return !allowed.allow(
      String(decoding: origin, as: UTF8.self), host: exchange.header("Host") ?? "", isSecure: exchange.isSecure)
  }

  /// What the answer to a preflight request has besides that: which request the page may make.
  ///
  /// - Parameter methods: those that the path takes.
  static func preflightHeaders(
    for head: RequestHead, _ allowed: AllowedOrigins, methods: String
  ) -> HTTPResponse.Headers {
    guard head.isPreflight, let origin = head.origin,
      allowed.access(String(decoding: origin, as: UTF8.self)) != .nothing
    else { return [] }
    return [
      ("Access-Control-Allow-Methods", methods), ("Access-Control-Allow-Headers", allowedHeaders),
      ("Access-Control-Max-Age", maxAge),
    ]
  }
}

/// Answers `OPTIONS` (RFC 9110, section 9.3.7): which methods a path takes. A browser asks so whether a page may make a
/// request; that it asks without the user's credentials, and etcd is not bothered, is as it should be.
final class OptionsHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let methods: String
  private let origins: AllowedOrigins

  /// - Parameter methods: those that the path takes besides `OPTIONS`.
  init(_ exchange: Exchange, methods: String, origins: AllowedOrigins) {
    self.exchange = exchange
    self.methods = methods
    self.origins = origins
  }

  func receivedEnd() {
    exchange.respond(
      .empty(
        204,
        headers: [("Allow", methods)] + CrossOrigin.preflightHeaders(for: exchange.head, origins, methods: methods)))
  }

  func clientIsGone() {}
}
