import EventLoop

/// What the proxies in front of the gateway say about a request: who the client is, and how it made the request.
struct Forwarded: Equatable {
  /// The client's address, or that of the last trusted proxy if that does not know it; nil for a Unix socket's.
  var client: IPAddress?
  /// Whether the client uses TLS; nil if no header says so.
  var isSecure: Bool?
  /// The host in the client's request, with a port if there is one; nil if no header says so.
  var host: String?
}

/// The header fields in which proxies say that: `Forwarded` (RFC 7239), and the older `X-Forwarded-` fields.
///
/// Every value is a list to which each proxy appends, so that the client's own entries are at its left. The list is
/// therefore read from the right, over as many proxies as are trusted. Reading never fails, and stops after
/// ``maxHops``: malformed entries are ignored, and the request then counts as the proxy's own.
///
/// Invariant of the pointers: as for ``RequestHead``, whose fields they are.
struct ForwardedFields {

  /// How many proxies are followed.
  static let maxHops = 32
  /// How long a host may be: a name of 255 bytes (RFC 1035, section 2.3.4) and a port.
  private static let longestHost = 255 + 6

  private var standard: [HeadBytes] = []
  private var clients: [HeadBytes] = []
  private var schemes: [HeadBytes] = []
  private var hosts: [HeadBytes] = []

  /// Takes a header field if it is one of these.
  mutating func take(_ name: HeadBytes, _ value: HeadBytes) {
    if name.isNamed("forwarded") {
      standard.append(value)
    } else if name.isNamed("x-forwarded-for") {
      clients.append(value)
    } else if name.isNamed("x-forwarded-proto") {
      schemes.append(value)
    } else if name.isNamed("x-forwarded-host") {
      hosts.append(value)
    }
  }

  /// Reads what the proxies say.
  ///
  /// - Parameters:
  ///   - peer: the sender of the request, which is a trusted proxy; nil for a client of a Unix socket.
  ///   - isTrusted: whether another proxy is trusted.
  func resolve(from peer: IPAddress?, isTrusted: (IPAddress) -> Bool) -> Forwarded {
    let old = Self.walk(customHops(), from: peer, isTrusted)
    guard !standard.isEmpty else { return old }
    let new = Self.walk(Self.hops(standard), from: peer, isTrusted)
    if clients.isEmpty && schemes.isEmpty && hosts.isEmpty { return new }
    // A proxy that writes one kind of field passes the other on as the client has sent it, and the gateway cannot tell
    // which is which.
    guard old.client == new.client else { return Forwarded(client: peer) }
    return Forwarded(
      client: new.client, isSecure: old.isSecure == new.isSecure ? new.isSecure : nil,
      host: old.host == new.host ? new.host : nil)
  }

  /// What one proxy says: from which address it has the request, and how that was made.
  struct Hop: Equatable {
    var address: IPAddress?
    var isSecure: Bool?
    var host: String?
  }

  /// - Parameter hops: the last proxy's entry first.
  private static func walk(_ hops: [Hop], from peer: IPAddress?, _ isTrusted: (IPAddress) -> Bool) -> Forwarded {
    var result = Forwarded(client: peer)
    for hop in hops.prefix(maxHops) {
      result.isSecure = hop.isSecure
      result.host = hop.host
      guard let address = hop.address else { break }
      result.client = address
      guard isTrusted(address) else { break }
    }
    return result
  }

  // MARK: - X-Forwarded-

  private func customHops() -> [Hop] {
    let (clients, schemes, hosts) = (Self.last(clients), Self.last(schemes), Self.last(hosts))
    // Most proxies append to the first list, but replace the others, which then describe the client.
    func element(_ list: [HeadBytes], _ index: Int) -> HeadBytes? {
      list.isEmpty ? nil : list[min(index, list.count - 1)]
    }
    return (0..<max(clients.count, schemes.isEmpty && hosts.isEmpty ? 0 : 1)).map { index in
      Hop(
        address: index < clients.count ? Self.address(clients[index]) : nil,
        isSecure: element(schemes, index).flatMap(Self.isSecure), host: element(hosts, index).flatMap(Self.host))
    }
  }

  /// The last elements of a list that may be in several fields (RFC 9110, section 5.6.1), the last one first. Empty
  /// ones count, as elements belong to those of another list by their positions.
  private static func last(_ values: [HeadBytes]) -> [HeadBytes] {
    var elements: [HeadBytes] = []
    for value in values.reversed() {
      for element in value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).reversed() {
        guard elements.count < maxHops else { return elements }
        elements.append(HeadBytes(rebasing: element).trimmed)
      }
    }
    return elements
  }

  // MARK: - Forwarded

  /// The last elements, the last one first; none if any of them is malformed, because it is then unknown where each
  /// begins.
  private static func hops(_ values: [HeadBytes]) -> [Hop] {
    var hops: [Hop] = []
    for value in values {
      var reader = ForwardedReader(value)
      while let hop = reader.next() {
        if hops.count >= maxHops * 2 { hops.removeFirst(maxHops) }
        hops.append(hop)
      }
      if reader.isMalformed { return [] }
    }
    return hops.reversed()
  }

  /// A node's address (RFC 7239, section 6), with or without a port; nil if it has none. An IPv6 address may lack
  /// brackets, as in `X-Forwarded-For`.
  static func address(_ node: HeadBytes) -> IPAddress? {
    guard let first = node.first else { return nil }
    if first == UInt8(ascii: "[") {
      guard let end = node.firstIndex(of: UInt8(ascii: "]")), isPort(node[(end + 1)...]) else { return nil }
      let inner = node[1..<end]
      return inner.contains(UInt8(ascii: ":")) ? IPAddress(inner) : nil
    }
    if node.lazy.filter({ $0 == UInt8(ascii: ":") }).count == 1, let colon = node.firstIndex(of: UInt8(ascii: ":")) {
      return isPort(node[colon...]) ? IPAddress(node[..<colon]) : nil
    }
    return IPAddress(node)
  }

  /// Whether the text is empty, or a colon and a port, which may be obfuscated (RFC 7239, section 6).
  private static func isPort(_ text: Slice<HeadBytes>) -> Bool {
    guard let colon = text.first else { return true }
    let port = text.dropFirst()
    return colon == UInt8(ascii: ":") && (1...64).contains(port.count) && port.allSatisfy { $0 > 0x20 && $0 < 0x7F }
  }

  static func isSecure(_ scheme: HeadBytes) -> Bool? {
    if scheme.isNamed("https") || scheme.isNamed("wss") { return true }
    return scheme.isNamed("http") || scheme.isNamed("ws") ? false : nil
  }

  /// Nil if the text is no host, or has anything besides a host and a port.
  static func host(_ text: HeadBytes) -> String? {
    guard (1...longestHost).contains(text.count),
      text.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"/?#@\\\"<>,;".utf8.contains($0) })
    else { return nil }
    return String(decoding: text, as: UTF8.self)
  }
}

/// Reads the elements of one `Forwarded` field (RFC 7239, section 4), each with its pairs of name and value.
struct ForwardedReader {
  private let text: UnsafeBufferPointer<UInt8>
  private var position = 0
  private(set) var isMalformed = false

  init(_ text: UnsafeBufferPointer<UInt8>) { self.text = text }

  /// The next element; nil at the end, and if what follows is malformed.
  mutating func next() -> ForwardedFields.Hop? {
    skipBlanks()
    while take(UInt8(ascii: ",")) { skipBlanks() }
    guard position < text.count, !isMalformed else { return nil }
    var hop = ForwardedFields.Hop()
    var seen: (client: Bool, scheme: Bool, host: Bool) = (false, false, false)
    repeat {
      skipBlanks()
      guard position < text.count, text[position] != UInt8(ascii: ","), text[position] != UInt8(ascii: ";") else {
        continue
      }
      let name = token()
      guard !name.isEmpty, take(UInt8(ascii: "=")) else { return fail() }
      let isKnown: Bool
      if name.isNamed("for") {
        isKnown = seen.client
        seen.client = true
        value { hop.address = ForwardedFields.address($0) }
      } else if name.isNamed("proto") {
        isKnown = seen.scheme
        seen.scheme = true
        value { hop.isSecure = ForwardedFields.isSecure($0) }
      } else if name.isNamed("host") {
        isKnown = seen.host
        seen.host = true
        value { hop.host = ForwardedFields.host($0) }
      } else {
        isKnown = false
        value { _ in }
      }
      // Each parameter may occur once.
      if isMalformed || isKnown { return fail() }
      skipBlanks()
    } while take(UInt8(ascii: ";"))
    guard position == text.count || text[position] == UInt8(ascii: ",") else { return fail() }
    return hop
  }

  private mutating func fail() -> ForwardedFields.Hop? {
    isMalformed = true
    return nil
  }

  private mutating func take(_ character: UInt8) -> Bool {
    guard position < text.count, text[position] == character else { return false }
    position += 1
    return true
  }

  private mutating func skipBlanks() {
    while position < text.count, text[position] == 0x20 || text[position] == 0x09 { position += 1 }
  }

  private mutating func token() -> UnsafeBufferPointer<UInt8> {
    let start = position
    while position < text.count, text[position] > 0x20, text[position] < 0x7F,
      !"=,;\"".utf8.contains(text[position])
    { position += 1 }
    return UnsafeBufferPointer(rebasing: text[start..<position])
  }

  /// Passes on a token, or a quoted string without its quotes. Colons and brackets should be quoted, but are accepted
  /// without quotes.
  private mutating func value(_ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    guard take(UInt8(ascii: "\"")) else {
      let value = token()
      if value.isEmpty { isMalformed = true } else { body(value) }
      return
    }
    var bytes: [UInt8] = []
    while position < text.count {
      var character = text[position]
      position += 1
      if character == UInt8(ascii: "\"") { return bytes.withUnsafeBufferPointer(body) }
      if character == UInt8(ascii: "\\") {
        guard position < text.count else { break }
        character = text[position]
        position += 1
      }
      bytes.append(character)
    }
    isMalformed = true
  }
}
