/// The hosts that a request without credentials may name (`--allowed-hosts`), also one with credentials that etcd does
/// not check: numeric addresses, localhost, names without a dot (no site of the Internet has one: ICANN forbids
/// "dotless domains"; services of one network do), and listed names.
///
/// A page's name may be made to resolve to any address, such as that of a gateway that only the user's machine can
/// reach ("DNS rebinding"): to a browser the gateway is then of the page's own origin. But the browser cannot change
/// the name in `Host`, and has no credentials for it that etcd would accept. If etcd checks credentials (``HostGate``),
/// a request that has some does not come from such a page.
package struct AllowedHosts: Sendable {
  private var allowsAll = false
  /// In lower case, without a port.
  private var names: [[UInt8]] = []

  /// Allows no names besides those that are always allowed.
  package init() {}

  /// Reads a list such as `etcd.example,gateway`, or `*` for any host.
  ///
  /// - Returns: nil if an entry is no host name. An empty list has no entries.
  package init?(_ list: String) {
    guard !list.isEmpty else { return }
    for entry in list.split(separator: ",", omittingEmptySubsequences: false) {
      var name = Array(entry.lowercased().utf8.filter { $0 != 0x20 })
      // The name with a dot at its end is the same name (RFC 1034, section 3.1).
      if name.last == UInt8(ascii: ".") { name.removeLast() }
      if name == [UInt8(ascii: "*")] {
        allowsAll = true
      } else if !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"/?#@\\*\":[]".utf8.contains($0) }) {
        names.append(name)
      } else {
        return nil
      }
    }
  }

  /// - Parameter host: the value of `Host`, or the host that a proxy reports.
  func allow(_ host: some BidirectionalCollection<UInt8>) -> Bool {
    if allowsAll { return true }
    // Brackets enclose a numeric address: names have neither brackets nor colons.
    if host.first == UInt8(ascii: "[") { return Self.isIPv6(host) }
    var name = host[...]
    if let colon = name.firstIndex(of: UInt8(ascii: ":")) {
      guard name[name.index(after: colon)...].allSatisfy(\.isDigit) else { return false }
      name = name[..<colon]
    }
    if !name.isEmpty && !name.contains(UInt8(ascii: ".")) { return true }
    if name.last == UInt8(ascii: ".") { name = name.dropLast() }
    return Self.isIPv4(name) || Self.isLocalhost(name) || names.contains { name.isNamed($0) }
  }

  /// `[2001:db8::1]:8379`: the exact form does not matter, as no name looks like that.
  private static func isIPv6(_ host: some BidirectionalCollection<UInt8>) -> Bool {
    guard let end = host.firstIndex(of: UInt8(ascii: "]")) else { return false }
    let inner = host[..<end].dropFirst()
    let rest = host[end...].dropFirst()
    return !inner.isEmpty
      && inner.allSatisfy { $0.isDigit || (0x61...0x66).contains($0 | 0x20) || ":.".utf8.contains($0) }
      && (rest.isEmpty || rest.first == UInt8(ascii: ":") && rest.dropFirst().allSatisfy(\.isDigit))
  }

  /// Four numbers below 256: browsers write every form of an IPv4 address so (URL Standard, "IPv4 serializer").
  private static func isIPv4(_ name: some Collection<UInt8>) -> Bool {
    var parts = 1
    var digits = 0
    var number = 0
    for byte in name {
      if byte == UInt8(ascii: ".") {
        guard digits > 0 else { return false }
        (parts, digits, number) = (parts + 1, 0, 0)
      } else {
        guard byte.isDigit, digits < 3 else { return false }
        digits += 1
        number = number * 10 + Int(byte - 0x30)
        guard number < 256 else { return false }
      }
    }
    return parts == 4 && digits > 0
  }

  /// `localhost` and names below it, which belong to no domain (RFC 6761, section 6.3).
  private static func isLocalhost(_ name: some BidirectionalCollection<UInt8>) -> Bool {
    let local = "localhost".utf8
    guard name.count >= local.count, name.suffix(local.count).isNamed(local) else { return false }
    let rest = name.dropLast(local.count)
    return rest.isEmpty || rest.last == UInt8(ascii: ".")
  }
}

extension Exchange {
  /// Checks the hosts that a request without credentials names: the one in `Host`, and the one that a trusted proxy
  /// reports. A request of HTTP/1.0 may have none, but does not come from a browser.
  ///
  /// - Throws: ``RequestError`` with 421 (RFC 9110, section 15.5.20).
  package func checkHost(_ allowed: AllowedHosts) throws(RequestError) {
    if let host = foreignHost(allowed) { throw .misdirected(host, "without credentials") }
  }

  /// The first of these hosts that `allowed` does not have; nil if there is none.
  package func foreignHost(_ allowed: AllowedHosts) -> String? {
    if let host = head.host, !allowed.allow(host) { return String(decoding: host, as: UTF8.self) }
    if head.forwarded != nil, let host = forwarded.host, !allowed.allow(host.utf8) { return host }
    return nil
  }
}

extension RequestError {
  /// - Parameter reason: why the name matters.
  package static func misdirected(_ host: String, _ reason: String) -> RequestError {
    RequestError(
      421,
      "\(reason), the host of a request must be an IP address, a name without a dot, or one of --allowed-hosts, not "
        + "'\(host)'")
  }
}
