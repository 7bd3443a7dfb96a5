/// The origin of a request, for throttling logins and for logs.
package enum Peer: Hashable, Sendable, CustomStringConvertible {
  /// This process itself.
  case itself
  /// A client of a Unix socket: all of them count as one.
  case local
  /// An address; of an IPv6 address only the part that belongs to one customer.
  case address(IPAddress)

  /// - Parameter address: nil for a client of a Unix socket.
  package init(_ address: IPAddress?) {
    guard let address else {
      self = .local
      return
    }
    // Within its first 64 bits (RFC 6177) a client has any number of addresses.
    self = .address(address.isV4 ? address : IPAddress(high: address.high, low: 0))
  }

  package var description: String {
    switch self {
    case .itself: "itself"
    case .local: "local"
    case .address(let address): address.description
    }
  }
}
