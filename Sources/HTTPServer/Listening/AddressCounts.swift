package import EventLoop
import Synchronization

/// The number of connections of each client address, on all shards together.
///
/// Of an IPv6 address only the first half counts, which belongs to one customer (RFC 6177): within it a client has any
/// number of addresses. A socket for both kinds of address reports IPv4 addresses as mapped ones, which count as what
/// they are. Clients of Unix sockets have no address and no limit.
package final class AddressCounts: Sendable {
  /// Counts one connection of a peer as long as this object lives.
  final class Place: Sendable {
    private let counts: AddressCounts
    private let peer: Peer

    fileprivate init(_ counts: AddressCounts, _ peer: Peer) {
      self.counts = counts
      self.peer = peer
    }

    deinit { counts.leave(peer) }
  }

  enum Admission {
    /// There is no limit for such a client.
    case unlimited
    case admitted(Place)
    /// The address has as many connections as it may have.
    case refused
  }

  let most: Int
  private let isExempt: @Sendable (IPAddress) -> Bool
  private let counts = Mutex<[Peer: Int]>([:])

  /// - Parameters:
  ///   - most: how many connections an address may have.
  ///   - isExempt: whether an address has no limit, such as that of a proxy in front of many clients.
  package init(most: Int, isExempt: @escaping @Sendable (IPAddress) -> Bool) {
    self.most = most
    self.isExempt = isExempt
  }

  func admit(_ client: SocketAddress) -> Admission {
    guard let address = client.ipAddress, !isExempt(address) else { return .unlimited }
    let peer = Peer(address)
    let isAdmitted = counts.withLock { counts in
      let count = counts[peer, default: 0]
      guard count < most else { return false }
      counts[peer] = count + 1
      return true
    }
    return isAdmitted ? .admitted(Place(self, peer)) : .refused
  }

  private func leave(_ peer: Peer) {
    counts.withLock { counts in
      let count = counts[peer, default: 0]
      counts[peer] = count > 1 ? count - 1 : nil
    }
  }
}
