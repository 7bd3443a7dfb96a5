/// The origins (RFC 6454) whose pages may read answers, change anything, and open WebSockets: that of the gateway
/// itself, and those that were listed.
///
/// What other pages may do over HTTP is up to ``CrossOrigin``. A WebSocket it lets any page open to anywhere, with the
/// user's Basic credentials if it has them, and leaves it to the server to look at where the page is from (RFC 6455,
/// section 10.2).
package struct AllowedOrigins: Sendable {
  /// What a page of some origin may do.
  package enum Access {
    case nothing
    /// What every page may: without the credentials that the browser has of its user.
    case anonymous
    /// With the user's credentials, too.
    case full
  }

  /// Whether those of every origin may.
  private var allowsAll = false
  private var origins: Set<String> = []

  /// Only the same origin.
  package init() {}

  /// Reads a list such as `https://a.example,http://b.example:8080`, or `*` for every origin.
  ///
  /// - Returns: nil if an entry is neither of these.
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

  /// Whether any origin is listed.
  package var isEmpty: Bool { !allowsAll && origins.isEmpty }

  /// Whether what an answer says to a page depends on the page's origin.
  var dependsOnOrigin: Bool { !origins.isEmpty }

  /// What pages of an origin that is not the gateway's own may read.
  package func access(_ origin: String) -> Access {
    if !origins.isEmpty, let (scheme, authority) = Self.parts(origin), origins.contains(scheme + authority) {
      return .full
    }
    return allowsAll ? .anonymous : .nothing
  }

  /// What pages of `origin` may do besides reading: change anything, or open a WebSocket.
  ///
  /// - Parameters:
  ///   - origin: the request's `Origin` header; `null`, for pages that have none, is no origin.
  ///   - host: its `Host` header.
  ///   - isSecure: whether it came over TLS. The scheme of the same origin is `https` then; else it may be either, as
  ///     TLS may end before the gateway.
  /// - Returns: ``Access/full`` for the gateway's own and those listed by name, ``Access/anonymous`` if `*` stands
  ///   for them.
  package func changes(of origin: String, host: String, isSecure: Bool) -> Access {
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
