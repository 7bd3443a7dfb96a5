/// What pages of other origins may do: which answers a browser shows them (Fetch Standard, "CORS protocol"), and that
/// no page changes anything that is not listed.
///
/// Both are for the user of a browser. A browser sends along what a page has posted before it looks at the answer, with
/// the user's Basic credentials if it has them; and if etcd wants none, a page needs no more than the gateway's
/// address.
package enum CrossOrigin {
  /// What a page may see of an answer's head besides what it always may.
  private static let exposedHeaders =
    "ETag, Retry-After, WWW-Authenticate, Preference-Applied, Content-Disposition, X-Etcd-Revision, "
    + "X-Etcd-Create-Revision, X-Etcd-Version, X-Etcd-Lease, X-Request-Id, traceparent"
  /// What a page may send besides what it always may. Said in full, as `*` would leave `Authorization` out.
  private static let allowedHeaders =
    "Accept, Authorization, Content-Type, Grpc-Timeout, If-Match, If-None-Match, Last-Event-ID, Prefer, Request-Timeout, "
    + "X-Request-Id"
  /// How long a list of headers may be that a page asks for, in bytes.
  private static let longestAsked = 1024
  /// For how long a browser need not ask again, in seconds: the most that one of the common ones goes by.
  private static let maxAge = "7200"

  /// Adds what belongs into every answer.
  ///
  /// - Parameters:
  ///   - origin: the request's `Origin` header.
  ///   - allowed: whose pages may read the answer.
  static func addHeaders(
    for origin: HeadBytes?, _ allowed: AllowedOrigins, _ add: (StaticString, String) -> Void
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

  /// Why the request is not for its page to make, which would change something: it is of another origin that is not
  /// listed, or, if `*` stands for that, uses the Basic credentials of its browser's user. Nil if the request is
  /// in order.
  package static func refusal(of exchange: Exchange, _ allowed: AllowedOrigins) -> RequestError? {
    guard let origin = exchange.head.origin, !exchange.head.method.isSafe else { return nil }
    // If the browser says so there is no need to compare: a proxy in between may have another name.
    if let site = exchange.head.fetchSite, site.elementsEqual("same-origin".utf8) { return nil }
    let name = String(decoding: origin, as: UTF8.self)
    switch allowed.changes(of: name, host: exchange.host ?? "", isSecure: exchange.isSecure) {
    case .full: return nil
    // A browser does not say whether the page has set the header or the browser itself has, without asking.
    case .anonymous: return AuthorizationField.isBasic(exchange.head.authorization) ? usesBasic : nil
    case .nothing: return RequestError(403, "pages of this origin may not do this (--cors)")
    }
  }

  /// A page of any origin has a user's Basic credentials along, which only its browser may have put there.
  package static let usesBasic = RequestError(
    403,
    "--cors '*' is for pages without Basic credentials: list this origin by its name, or have the page send a token")

  /// What the answer to a preflight request has besides that: which request the page may make.
  ///
  /// - Parameter methods: those that the path takes.
  static func preflightHeaders(
    for exchange: Exchange, _ allowed: AllowedOrigins, methods: String
  ) -> HTTPResponse.Headers {
    guard exchange.head.isPreflight, let origin = exchange.head.origin else { return [] }
    let access = allowed.access(String(decoding: origin, as: UTF8.self))
    if access == .nothing { return [] }
    // What a page that is listed wants to send besides, such as the headers of a library that traces requests.
    let asked = access == .full ? fieldNames(exchange.header("Access-Control-Request-Headers") ?? "") : []
    return [
      ("Access-Control-Allow-Methods", methods),
      ("Access-Control-Allow-Headers", ([allowedHeaders] + asked).joined(separator: ", ")),
      ("Access-Control-Max-Age", maxAge),
    ]
  }

  /// The names of a list of fields; none if it is no such list, or a very long one.
  static func fieldNames(_ list: String) -> [String] {
    guard list.utf8.count <= longestAsked else { return [] }
    let names = list.utf8.listElements
    return names.allSatisfy(\.isToken) ? names.map { String(Substring($0)) } : []
  }
}

/// Answers `OPTIONS` (RFC 9110, section 9.3.7): which methods a path takes. A browser asks so whether a page may make a
/// request; that it asks without the user's credentials, and etcd is not bothered, is as it should be.
package final class OptionsHandler: RequestHandler {
  private unowned let exchange: Exchange
  private let methods: String
  private let origins: AllowedOrigins

  /// - Parameter methods: those that the path takes besides `OPTIONS`.
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
