package import EventLoop
import Glibc
import Synchronization

/// The number of connections of each client address, on all shards together.
///
/// Of an IPv6 address only the first half counts, which belongs to one customer (RFC 6177): within it a client has any
/// number of addresses. Clients of Unix sockets have no address and no limit.
package final class AddressCounts: Sendable {
  /// Counts one connection of an address as long as this object lives.
  final class Place: Sendable {
    private let counts: AddressCounts
    private let address: Address

    fileprivate init(_ counts: AddressCounts, _ address: Address) {
      self.counts = counts
      self.address = address
    }

    deinit { counts.leave(address) }
  }

  enum Admission {
    /// There is no limit for such a client.
    case unlimited
    case admitted(Place)
    /// The address has as many connections as it may have.
    case refused
  }

  /// The part of an address that is counted.
  fileprivate struct Address: Hashable {
    let family: Int32
    let bits: UInt64
  }

  let most: Int
  private let isExempt: @Sendable (SocketAddress) -> Bool
  private let counts = Mutex<[Address: Int]>([:])

  /// - Parameters:
  ///   - most: how many connections an address may have.
  ///   - isExempt: whether an address has no limit, such as that of a proxy in front of many clients.
  package init(most: Int, isExempt: @escaping @Sendable (SocketAddress) -> Bool) {
    self.most = most
    self.isExempt = isExempt
  }

  func admit(_ peer: SocketAddress) -> Admission {
    guard let address = Address(peer), !isExempt(peer) else { return .unlimited }
    let isAdmitted = counts.withLock { counts in
      let count = counts[address, default: 0]
      guard count < most else { return false }
      counts[address] = count + 1
      return true
    }
    return isAdmitted ? .admitted(Place(self, address)) : .refused
  }

  private func leave(_ address: Address) {
    counts.withLock { counts in
      let count = counts[address, default: 0]
      counts[address] = count > 1 ? count - 1 : nil
    }
  }
}

extension AddressCounts.Address {
  fileprivate init?(_ address: SocketAddress) {
    family = address.family
    switch family {
    case AF_INET:
      bits = withUnsafeBytes(of: address.storage) {
        UInt64($0.loadUnaligned(fromByteOffset: MemoryLayout.offset(of: \sockaddr_in.sin_addr)!, as: UInt32.self))
      }
    case AF_INET6:
      bits = withUnsafeBytes(of: address.storage) {
        $0.loadUnaligned(fromByteOffset: MemoryLayout.offset(of: \sockaddr_in6.sin6_addr)!, as: UInt64.self)
      }
    default: return nil
    }
  }
}

extension SocketAddress {
  /// Whether the address belongs to this machine and can belong to no other: 127.0.0.0/8 and `::1`.
  package var isLoopback: Bool {
    withUnsafeBytes(of: storage) { bytes in
      switch family {
      case AF_INET: bytes[MemoryLayout.offset(of: \sockaddr_in.sin_addr)!] == 127
      case AF_INET6:
        bytes[MemoryLayout.offset(of: \sockaddr_in6.sin6_addr)!...].prefix(16).elementsEqual(
          [UInt8](repeating: 0, count: 15) + [1])
      default: false
      }
    }
  }
}
