import ByteBuffers

/// The address at which an etcd member serves its clients, in the forms that clientv3 takes.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  /// Whether connections to the member use TLS.
  public enum Security: Sendable, Hashable {
    /// `http://`: never.
    case plaintext
    /// `HOST:PORT` and `unix://`: if TLS is configured, as in clientv3.
    case asConfigured
    /// `https://` and `unixs://`: always; with the system's authorities if TLS is not configured.
    case tls
  }

  /// A name or an address, without brackets; empty for a Unix socket.
  public let host: String
  /// 0 for a Unix socket.
  public let port: UInt16
  /// The path of a Unix socket.
  public let path: String?
  public let security: Security

  /// What is wrong with the text of an endpoint.
  public struct ParseError: Error, CustomStringConvertible, Sendable {
    public let description: String
  }

  /// Reads `http://HOST:PORT`, `https://HOST:PORT`, `HOST:PORT`, `unix:///PATH` or `unixs:///PATH`. Without a port it
  /// is 2379; an IPv6 address needs brackets; the path of a socket may be relative, as in `unix://etcd.sock`.
  ///
  /// - Throws: ``ParseError`` with one line that names the text and its fault.
  public init(_ text: String) throws(ParseError) {
    let (scheme, rest) = Self.split(text)
    do throws(Fault) {
      switch scheme {
      case "unix": self = try Endpoint(path: rest, security: .asConfigured)
      case "unixs": self = try Endpoint(path: rest, security: .tls)
      case "http": self = try Endpoint(authority: rest, security: .plaintext)
      case "https": self = try Endpoint(authority: rest, security: .tls)
      case nil: self = try Endpoint(authority: rest, security: .asConfigured)
      case let other?: throw Fault("unknown scheme '\(other)', expected http, https, unix or unixs")
      }
    } catch {
      throw ParseError(description: "endpoint '\(text)': \(error.text)")
    }
  }

  private struct Fault: Error {
    let text: String
    init(_ text: String) { self.text = text }
  }

  /// The scheme, if there is one, and what follows it.
  private static func split(_ text: String) -> (scheme: Substring?, rest: Substring) {
    guard let colon = text.firstIndex(of: ":") else { return (nil, text[...]) }
    let scheme = text[..<colon]
    let rest = text[text.index(after: colon)...]
    if rest.hasPrefix("//") { return (scheme, rest.dropFirst(2)) }
    return scheme == "unix" || scheme == "unixs" ? (scheme, rest) : (nil, text[...])
  }

  private init(path: Substring, security: Security) throws(Fault) {
    guard !path.isEmpty else { throw Fault("the path of the socket is missing") }
    // `sun_path` ends with a zero byte (unix(7)).
    guard path.utf8.count < 108, !path.utf8.contains(0) else {
      throw Fault("the path of a socket has at most 107 bytes, none of them zero")
    }
    host = ""
    port = 0
    self.path = String(path)
    self.security = security
  }

  private init(authority: Substring, security: Security) throws(Fault) {
    var rest = authority
    if rest.hasSuffix("/") { rest.removeLast() }
    if rest.contains(where: { "/?#@ ".contains($0) }) { throw Fault("expected HOST:PORT and nothing more") }
    let name: Substring
    let number: Substring?
    let isAddress = rest.hasPrefix("[")
    if isAddress {
      guard let end = rest.firstIndex(of: "]") else { throw Fault("']' is missing") }
      name = rest[rest.index(after: rest.startIndex)..<end]
      let tail = rest[rest.index(after: end)...]
      guard tail.isEmpty || tail.hasPrefix(":") else { throw Fault("expected ':PORT' after ']'") }
      number = tail.isEmpty ? nil : tail.dropFirst()
    } else {
      let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2 else { throw Fault("an IPv6 address needs brackets, as in [::1]:2379") }
      name = parts[0]
      number = parts.count == 2 ? parts[1] : nil
    }
    guard !name.isEmpty else { throw Fault("the host is missing") }
    // No name of a host has the other characters that RFC 3986, section 3.2.2, allows. By bytes, as a combining mark
    // makes another `Character` of the one before it.
    let isWellFormed = name.utf8.allSatisfy { $0.isUnreserved || isAddress && ":%".utf8.contains($0) }
    guard isWellFormed, isAddress == name.utf8.contains(UInt8(ascii: ":")) else {
      throw Fault(
        isAddress
          ? "expected an IPv6 address in the brackets"
          : "a host has only letters and digits of ASCII, '-', '.', '_' and '~'")
    }
    guard let port = number.map({ UInt16($0) }) ?? 2379, port > 0 else {
      throw Fault("the port must be a number from 1 to 65535")
    }
    host = String(name)
    self.port = port
    path = nil
    self.security = security
  }

  /// Whether connections to the member use TLS, given whether TLS is configured.
  package func isSecure(withTLSConfigured isConfigured: Bool) -> Bool {
    switch security {
    case .plaintext: false
    case .asConfigured: isConfigured
    case .tls: true
    }
  }

  /// The member's address: `HOST:PORT`, with brackets around an IPv6 address (RFC 3986, section 3.2), or the path of a
  /// socket.
  public var authority: String {
    if let path { return path }
    return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  /// The endpoint in a form that the initialiser reads.
  public var description: String {
    switch security {
    case .plaintext: "http://\(authority)"
    case .asConfigured: path == nil ? authority : "unix://\(authority)"
    case .tls: path == nil ? "https://\(authority)" : "unixs://\(authority)"
    }
  }
}
