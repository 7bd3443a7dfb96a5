import Glibc

/// An IPv4 or IPv6 address without a port. An IPv4 address equals the IPv6 address that it is mapped to
/// (`::ffff:192.0.2.1`, RFC 4291, section 2.5.5.2), which a socket for both kinds reports.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  /// The 128 bits of an IPv6 address, the first ones in `high`.
  let high: UInt64
  let low: UInt64

  private static let v4Prefix: UInt64 = 0xFFFF_0000_0000

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// An IPv4 address, its first number in the highest bits.
  package init(v4 bits: UInt32) { self.init(high: 0, low: Self.v4Prefix | UInt64(bits)) }

  /// An IPv6 address as on the wire; nil if there are not 16 bytes.
  package init?(v6 bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 16 else { return nil }
    self.init(
      high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
      low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
  }

  /// The address of a socket; nil if it is of another kind, such as a Unix socket's.
  init?(_ address: UnsafePointer<sockaddr>) {
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
      self = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
        IPAddress(v4: UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
      }
    case AF_INET6:
      let found = address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
        withUnsafeBytes(of: $0.pointee.sin6_addr) { IPAddress(v6: $0) }
      }
      guard let found else { return nil }
      self = found
    default: return nil
    }
  }

  /// Reads an address as `192.0.2.1` or `2001:db8::1`, without brackets, port or zone; nil if it is malformed.
  package init?(_ text: some Collection<UInt8>) {
    // The longest one has 45 characters (INET6_ADDRSTRLEN), and inet_pton(3) reads up to a zero.
    guard (2...45).contains(text.count), !text.contains(0) else { return nil }
    var characters = text.map { CChar(bitPattern: $0) }
    characters.append(0)
    var v4 = in_addr()
    if inet_pton(AF_INET, characters, &v4) == 1 {
      self.init(v4: UInt32(bigEndian: v4.s_addr))
      return
    }
    var v6 = in6_addr()
    guard inet_pton(AF_INET6, characters, &v6) == 1, let found = withUnsafeBytes(of: v6, { IPAddress(v6: $0) }) else {
      return nil
    }
    self = found
  }

  var isV4: Bool { high == 0 && low >> 32 == 0xFFFF }

  /// Whether the address belongs to this machine and can belong to no other: 127.0.0.0/8 and `::1`.
  package var isLoopback: Bool { isV4 ? (low >> 24) & 0xFF == 127 : high == 0 && low == 1 }

  package var description: String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
      let result: UnsafePointer<CChar>?
      if isV4 {
        var bits = UInt32(truncatingIfNeeded: low).bigEndian
        result = inet_ntop(AF_INET, &bits, text.baseAddress, socklen_t(text.count))
      } else {
        var words = (high.bigEndian, low.bigEndian)
        result = inet_ntop(AF_INET6, &words, text.baseAddress, socklen_t(text.count))
      }
      return result.map { String(cString: $0) } ?? "?"
    }
  }
}
