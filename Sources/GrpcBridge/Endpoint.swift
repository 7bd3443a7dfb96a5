/// Where an etcd member serves its clients.
public struct Endpoint: Sendable, Hashable, CustomStringConvertible {
  /// A name or an address, without brackets.
  public let host: String
  public let port: UInt16

  /// What is wrong with the text of an endpoint.
  public struct ParseError: Error, CustomStringConvertible, Sendable {
    public let description: String
  }

  /// Reads `http://HOST:PORT`, `HOST:PORT` or `HOST`; the port is 2379 where left out, an IPv6 address stands in
  /// brackets.
  ///
  /// - Throws: ``ParseError`` with one line that names the text and its fault.
  public init(_ text: String) throws(ParseError) {
    func fail(_ reason: String) -> ParseError { ParseError(description: "endpoint '\(text)': \(reason)") }
    var rest = Substring(text)
    if let scheme = rest.firstRange(of: "://") {
      switch rest[..<scheme.lowerBound] {
      case "http": break
      case "https": throw fail("TLS to etcd is not supported yet, only http://")
      case "unix", "unixs": throw fail("Unix sockets are not supported yet, only http://")
      case let other: throw fail("unknown scheme '\(other)', expected http://")
      }
      rest = rest[scheme.upperBound...]
    }
    if rest.hasSuffix("/") { rest.removeLast() }
    if rest.contains(where: { "/?#@ ".contains($0) }) { throw fail("expected http://HOST:PORT and nothing more") }
    let name: Substring
    let number: Substring?
    if rest.hasPrefix("[") {
      guard let end = rest.firstIndex(of: "]") else { throw fail("']' is missing") }
      name = rest[rest.index(after: rest.startIndex)..<end]
      let tail = rest[rest.index(after: end)...]
      guard tail.isEmpty || tail.hasPrefix(":") else { throw fail("expected ':PORT' after ']'") }
      number = tail.isEmpty ? nil : tail.dropFirst()
    } else {
      let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2 else { throw fail("an IPv6 address needs brackets, as in [::1]:2379") }
      name = parts[0]
      number = parts.count == 2 ? parts[1] : nil
    }
    guard !name.isEmpty else { throw fail("the host is missing") }
    guard let port = number.map({ UInt16($0) }) ?? 2379, port > 0 else {
      throw fail("the port must be a number from 1 to 65535")
    }
    host = String(name)
    self.port = port
  }

  /// `HOST:PORT`, with brackets around an IPv6 address (RFC 3986, section 3.2).
  public var authority: String { host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)" }

  public var description: String { "http://\(authority)" }
}

extension Substring {
  fileprivate func firstRange(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
