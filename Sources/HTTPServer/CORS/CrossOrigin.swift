/// What pages of other origins may do: which answers a browser shows them (Fetch Standard, "CORS protocol"), and that
/// only listed ones change anything.
///
/// Both protect the user of a browser. A browser sends what a page posts before it checks the answer, with the user's
/// Basic credentials if it has them; and if etcd requires none, a page only needs the gateway's address.
package enum CrossOrigin {
  /// The header fields of an answer that a page may see besides those that it always may.
  private static let exposedHeaders =
    "ETag, Retry-After, WWW-Authenticate, Preference-Applied, Content-Disposition, X-Etcd-Revision, "
    + "X-Etcd-Create-Revision, X-Etcd-Version, X-Etcd-Lease, X-Request-Id, traceparent"
  /// The header fields that a page may send besides those that it always may. All are listed, as `*` would not include
  /// `Authorization`.
  private static let allowedHeaders =
    "Accept, Authorization, Content-Type, Grpc-Timeout, If-Match, If-None-Match, Last-Event-ID, Prefer, Request-Timeout, "
    + "X-Request-Id"
  /// How long a page's list of requested header fields may be, in bytes.
  private static let longestAsked = 1024
  /// For how many seconds a browser need not ask again: the maximum of a common browser.
  private static let maxAge = "7200"

  /// Adds the header fields that every answer has.
  ///
  /// - Parameters:
  ///   - origin: the request's `Origin` header.
  ///   - allowed: the origins whose pages may read the answer.
  static func addHeaders(
    for origin: HeadBytes?, _ allowed: AllowedOrigins, _ add: (StaticString, String) -> Void
  ) {
    guard !allowed.isEmpty else { return }
    // In every answer: a cache may give a page the answer to a request without an origin.
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

  /// Why the page must not make this request, which would change something: the page's origin is not listed, or is only
  /// allowed by `*` while the request has the Basic credentials of the browser's user. Nil if the request is allowed.
  package static func refusal(of exchange: Exchange, _ allowed: AllowedOrigins) -> RequestError? {
    guard let origin = exchange.head.origin, !exchange.head.method.isSafe else { return nil }
    // If the browser says so, no comparison is needed: a proxy in between may have another name.
    if let site = exchange.head.fetchSite, site.elementsEqual("same-origin".utf8) { return nil }
    let name = String(decoding: origin, as: UTF8.self)
    switch allowed.changes(of: name, host: exchange.host ?? "", isSecure: exchange.isSecure) {
    case .full: return nil
    // A browser does not say whether the page or the browser itself has set the header.
    case .anonymous: return AuthorizationField.isBasic(exchange.head.authorization) ? usesBasic : nil
    case .nothing: return RequestError(403, "pages of this origin may not do this (--cors)")
    }
  }

  /// A page that only `*` allows sends a user's Basic credentials, which may be the browser's.
  static let usesBasic = RequestError(
    403,
    "--cors '*' is for pages without Basic credentials: list this origin by its name, or have the page send a token")

  /// The further header fields of the answer to a preflight request: which requests the page may make.
  ///
  /// - Parameter methods: the methods of the path.
  static func preflightHeaders(
    for exchange: Exchange, _ allowed: AllowedOrigins, methods: String
  ) -> HTTPResponse.Headers {
    guard exchange.head.isPreflight, let origin = exchange.head.origin else { return [] }
    let access = allowed.access(String(decoding: origin, as: UTF8.self))
    if access == .nothing { return [] }
    // The further header fields that a listed page wants to send, such as those of a library that traces requests.
    let asked = access == .full ? fieldNames(exchange.header("access-control-request-headers") ?? "") : []
    return [
      ("Access-Control-Allow-Methods", methods),
      ("Access-Control-Allow-Headers", ([allowedHeaders] + asked).joined(separator: ", ")),
      ("Access-Control-Max-Age", maxAge),
    ]
  }

  /// The names in a list of fields; none if the list is malformed or very long.
  static func fieldNames(_ list: String) -> [String] {
    guard list.utf8.count <= longestAsked else { return [] }
    let names = list.utf8.listElements
    return names.allSatisfy(\.isToken) ? names.map { String(Substring($0)) } : []
  }
}

/// Answers `OPTIONS` (RFC 9110, section 9.3.7): which methods a path has. A browser asks so whether a page may make a
/// request. It asks without the user's credentials, and etcd is not involved, as intended.
package final class OptionsHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let methods: String
  private let origins: AllowedOrigins

  /// - Parameter methods: the methods of the path besides `OPTIONS`.
  package init(_ exchange: Exchange, methods: String, origins: AllowedOrigins) {
    self.exchange = exchange
    self.methods = methods
    self.origins = origins
  }

  package var needsAllowedHost: Bool { false }

  package func receivedEnd() {
    exchange.respond(
      .empty(
        204,
        headers: [("Allow", methods)] + CrossOrigin.preflightHeaders(for: exchange, origins, methods: methods)))
  }

  package func clientIsGone() {}
}
