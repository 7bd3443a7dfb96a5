package import EventLoop

/// The reverse proxies that are trusted to say for which client they forward a request (`--trusted-proxies`).
package struct TrustedProxies: Sendable {
  private var ranges: [IPAddressRange] = []
  /// Whether proxies that connect to a Unix socket are trusted.
  private var trustsLocal = false

  /// Trusts no proxy.
  package init() {}

  /// Reads a list such as `10.0.0.0/8,2001:db8::1,unix`.
  ///
  /// - Returns: nil if an entry is neither an address, nor a range of addresses, nor `unix`. An empty list has no
  ///   entries.
  package init?(_ list: String) {
    guard !list.isEmpty else { return }
    for entry in list.split(separator: ",", omittingEmptySubsequences: false) {
      let entry = entry.filter { $0 != " " }
      if entry == "unix" {
        trustsLocal = true
      } else if let range = IPAddressRange(entry) {
        ranges.append(range)
      } else {
        return nil
      }
    }
  }

  package var isEmpty: Bool { ranges.isEmpty && !trustsLocal }

  /// - Parameter address: nil for a client of a Unix socket.
  package func contains(_ address: IPAddress?) -> Bool {
    guard let address else { return trustsLocal }
    return ranges.contains { $0.contains(address) }
  }
}
