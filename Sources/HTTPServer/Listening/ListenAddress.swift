/// An address on which the gateway listens, and whether it uses TLS there.
package struct ListenAddress: Sendable, Equatable {
  package enum Place: Sendable, Equatable {
    /// All addresses of a host, or of this machine if the host is empty; port 0 takes a free port.
    case tcp(host: String, port: UInt16)
    /// A Unix socket.
    case unix(path: String)
    /// Sockets that were opened before the process started.
    case given(name: String)
  }

  package let place: Place
  package let isTLS: Bool
  /// Whether each connection begins with a header of the PROXY protocol.
  package let isProxied: Bool
  /// Whether the address serves only metrics and probes (`--admin-listen`).
  package let isAdmin: Bool
  private static let proxyPrefix = "proxy+"

  package init(_ place: Place, isTLS: Bool = false, isProxied: Bool = false, isAdmin: Bool = false) {
    self.place = place
    self.isAdmin = isAdmin
    self.isTLS = isTLS
    self.isProxied = isProxied
  }

  /// Reads `HOST:PORT`, `:PORT` (all addresses) or `[IPV6]:PORT`, each also after `http://` or `https://`; or
  /// `unix:///PATH`; or `fd://NAME` or `https+fd://NAME` for a given socket. `proxy+` before the scheme is for the
  /// PROXY protocol. Nil if the text is none of these.
  package init?(_ text: Substring) {
    if text.hasPrefix(Self.proxyPrefix) {
      let rest = text.dropFirst(Self.proxyPrefix.count)
      guard ["http://", "https://", "unix://", "fd://", "https+fd://"].contains(where: rest.hasPrefix),
        let inner = ListenAddress(rest)
      else {
        return nil
      }
      self.init(inner.place, isTLS: inner.isTLS, isProxied: true)
      return
    }
    if text.hasPrefix("unix://") {
      let path = text.dropFirst("unix://".count)
      guard path.hasPrefix("/"), !path.hasSuffix("/") else { return nil }
      self.init(.unix(path: String(path)))
      return
    }
    for (scheme, isTLS) in [("fd://", false), ("https+fd://", true)] where text.hasPrefix(scheme) {
      let name = text.dropFirst(scheme.count)
      // systemd's rule for names (systemd.socket(5), FileDescriptorName=).
      guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }) else {
        return nil
      }
      self.init(.given(name: String(name)), isTLS: isTLS)
      return
    }
    let isTLS = text.hasPrefix("https://")
    let authority = text.hasPrefix("http://") || isTLS ? text.dropFirst(isTLS ? 8 : 7) : text
    guard let colon = authority.lastIndex(of: ":"), let port = UInt16(authority[authority.index(after: colon)...])
    else { return nil }
    var host = authority[..<colon]
    if host.hasPrefix("[") && host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.utf8.contains(where: { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: "/") }) {
      return nil
    }
    self.init(.tcp(host: String(host), port: port), isTLS: isTLS)
  }
}

extension ListenAddress: CustomStringConvertible {
  package var description: String {
    let url =
      switch place {
      case .unix(let path): "unix://\(path)"
      case .given(let name): "\(isTLS ? "https+" : "")fd://\(name)"
      case .tcp(let host, let port):
        (isTLS ? "https://" : "http://")
          + (host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)")
      }
    return "\(isProxied ? Self.proxyPrefix : "")\(url)\(isAdmin ? " (admin)" : "")"
  }
}
