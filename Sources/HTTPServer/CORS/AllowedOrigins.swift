/// The origins (RFC 6454) whose pages may read answers, change anything, and open WebSockets: the gateway's own, and
/// those that were listed.
///
/// ``CrossOrigin`` decides what other pages may do over HTTP. Browsers let any page open a WebSocket to any host, with
/// the user's Basic credentials if they have them, so the server must check where the page comes from (RFC 6455,
/// section 10.2).
package struct AllowedOrigins: Sendable {
  /// How a page of some origin may use the gateway.
  package enum Access {
    case nothing
    /// As every page may: without the browser's credentials of its user.
    case anonymous
    /// With the user's credentials, too.
    case full
  }

  /// Whether pages of every origin may.
  private var allowsAll = false
  private var origins: Set<String> = []

  /// Allows only the gateway's own origin.
  package init() {}

  /// Reads a list such as `https://a.example,http://b.example:8080`, or `*` for every origin.
  ///
  /// - Returns: nil if an entry is neither an origin nor `*`.
  package init?(_ list: String) {
    for entry in list.split(separator: ",") {
      let entry = entry.filter { $0 != " " }
      if entry == "*" {
        allowsAll = true
      } else if let origin = Self.parts(entry), !origin.authority.isEmpty, Self.isAuthority(origin.authority) {
        origins.insert(origin.scheme + origin.authority)
      } else {
        return nil
      }
    }
  }

  /// Whether no origin is listed.
  var isEmpty: Bool { !allowsAll && origins.isEmpty }

  /// Whether the header fields for a page depend on the page's origin.
  var dependsOnOrigin: Bool { !origins.isEmpty }

  /// How pages of an origin that is not the gateway's own may read.
  func access(_ origin: String) -> Access {
    if !origins.isEmpty, let (scheme, authority) = Self.parts(origin), origins.contains(scheme + authority) {
      return .full
    }
    return allowsAll ? .anonymous : .nothing
  }

  /// What pages of `origin` may do besides reading: change anything, or open a WebSocket.
  ///
  /// - Parameters:
  ///   - origin: the request's `Origin` header; `null`, which pages without an origin send, is no origin.
  ///   - host: the request's `Host` header.
  ///   - isSecure: whether the request came over TLS. Then the scheme of the same origin is `https`; otherwise it may
  ///     be either, as TLS may end before the gateway.
  /// - Returns: ``Access/full`` for the gateway's own origin and those listed by name, ``Access/anonymous`` for others
  ///   if `*` is listed.
  func changes(of origin: String, host: String, isSecure: Bool) -> Access {
    let others = allowsAll ? Access.anonymous : .nothing
    guard let (scheme, authority) = Self.parts(origin) else { return others }
    if origins.contains(scheme + authority) { return .full }
    let isOwn =
      authority == Self.withoutStandardPort(host.lowercased(), scheme) && (!isSecure || scheme == "https://")
    return isOwn ? .full : others
  }

  /// An origin's scheme with `://`, and its host with the port if that is not the scheme's own.
  private static func parts(_ origin: String) -> (scheme: String, authority: String)? {
    let origin = origin.lowercased()
    for scheme in ["http://", "https://"] where origin.hasPrefix(scheme) {
      return (scheme, withoutStandardPort(String(origin.dropFirst(scheme.count)), scheme))
    }
    return nil
  }

  private static func withoutStandardPort(_ authority: String, _ scheme: String) -> String {
    let port = scheme == "http://" ? ":80" : ":443"
    return authority.hasSuffix(port) ? String(authority.dropLast(port.count)) : authority
  }

  private static func isAuthority(_ text: String) -> Bool {
    text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"/?#@\\*\"".utf8.contains($0) }
  }
}
