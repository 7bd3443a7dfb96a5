import Foundation

/// A network of its own, joined to this process's by a pair of virtual Ethernet devices: clients in it can be cut off
/// so that none of their packets, not even a FIN, arrives any more.
///
/// The kernel removes the pair with the namespace.
package final class NetworkNamespace: Sendable {
  /// The address of this process, as seen from inside. Servers for clients inside listen here.
  package let hostAddress: String
  private let namespace: Namespace

  /// Makes a namespace and brings the link up.
  /// - Throws: `TestSupportError` if that is not possible, as without root.
  package init() async throws {
    let addresses = TestAddresses(bits: 2)
    let (host, guest, length, device) = (
      addresses.address(1), addresses.address(2), addresses.prefixLength, addresses.tag
    )
    let namespace = try await Namespace()
    try await namespace.inside {
      try ip("link", "add", "client", "type", "veth", "peer", "name", device, "netns", "\(getpid())")
      try ip("address", "add", "\(guest)/\(length)", "dev", "client")
      try ip("link", "set", "client", "up")
    }
    self.namespace = namespace
    hostAddress = host
    try await onThread {
      try ip("address", "add", "\(host)/\(length)", "dev", device)
      try ip("link", "set", device, "up")
    }
  }

  /// Drops all packets between the namespace and this process from now on, both ways, without notifying either.
  package func drop() async throws {
    let host = hostAddress
    // No answer is sent, and incoming packets are dropped, too: their sender cannot be reached the way they came.
    try await inside { try ip("route", "add", "blackhole", "\(host)/32") }
  }

  /// Lets packets through again.
  package func restore() async throws {
    let host = hostAddress
    try await inside { try ip("route", "delete", "blackhole", "\(host)/32") }
  }

  /// Runs `body` on a thread of its own that is in the namespace.
  func inside<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await namespace.inside(body)
  }

  /// Why there can be no namespaces here; nil if there can.
  package static func obstacle() async -> String? {
    do {
      _ = try await NetworkNamespace()
      return nil
    } catch {
      return "\(error)"
    }
  }
}
