/// The addresses that begin with the same bits (CIDR, RFC 4632).
package struct IPAddressRange: Hashable, Sendable, CustomStringConvertible {
  private let first: IPAddress
  private let maskHigh: UInt64
  private let maskLow: UInt64
  package let description: String

  /// Reads `192.0.2.0/24`, `2001:db8::/32`, or one address; nil if the text is none of these.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = parts.first.flatMap({ IPAddress($0.utf8) }) else { return nil }
    let width = address.isV4 ? 32 : 128
    var length = width
    if parts.count == 2 {
      let digits = parts[1].utf8
      guard (1...3).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
        let number = Int(parts[1]), number <= width
      else { return nil }
      length = number
    }
    // The bits of an IPv4 address are the last ones of an IPv6 address.
    let bits = length + 128 - width
    maskHigh = bits >= 64 ? .max : bits == 0 ? 0 : .max << UInt64(64 - bits)
    maskLow = bits <= 64 ? 0 : .max << UInt64(128 - bits)
    first = IPAddress(high: address.high & maskHigh, low: address.low & maskLow)
    description = text
  }

  package func contains(_ address: IPAddress) -> Bool {
    address.high & maskHigh == first.high && address.low & maskLow == first.low
  }
}
