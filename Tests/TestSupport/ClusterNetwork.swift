import Foundation

/// A network with a namespace for each member of a cluster, all joined by a bridge, to which this process is connected
/// as well. Members can be partitioned from all others: packets vanish, and no connection is closed.
package final class ClusterNetwork: Sendable {
  /// A member's place in the network.
  package struct Place: Sendable {
    package let address: String
    let namespace: Namespace
  }

  package let places: [Place]
  private let hub: Namespace

  /// Makes the network; it is removed with this object and the processes in it.
  /// - Throws: `TestSupportError` if that is not possible, as without root.
  package init(members count: Int) async throws {
    let addresses = TestAddresses(bits: 5)
    let (length, host, device) = (addresses.prefixLength, addresses.address(1), addresses.tag)
    let hub = try await Namespace()
    try await hub.inside {
      try ip("link", "add", "hub", "type", "bridge")
      try ip("link", "set", "hub", "up")
      try ip("link", "add", "host", "type", "veth", "peer", "name", device, "netns", "\(getpid())")
      try ip("link", "set", "host", "master", "hub", "up")
    }
    try await onThread {
      try ip("address", "add", "\(host)/\(length)", "dev", device)
      try ip("link", "set", device, "up")
    }
    var places: [Place] = []
    for number in 0..<count {
      let place = Place(address: addresses.address(UInt32(number) + 2), namespace: try await Namespace())
      try await place.namespace.inside {
        try ip("link", "add", "member", "type", "veth", "peer", "name", "m\(number)", "netns", hub.path)
        try ip("address", "add", "\(place.address)/\(length)", "dev", "member")
        try ip("link", "set", "member", "up")
      }
      try await hub.inside { try ip("link", "set", "m\(number)", "master", "hub", "up") }
      places.append(place)
    }
    self.hub = hub
    self.places = places
  }

  /// Carries no packets between a member and the others, while this process reaches all.
  package func isolate(_ number: Int) async throws { try await route("add", number) }

  /// Carries them again.
  package func reunite(_ number: Int) async throws { try await route("delete", number) }

  private func route(_ change: String, _ number: Int) async throws {
    let others = places.indices.filter { $0 != number }.map { places[$0].address }
    try await places[number].namespace.inside {
      for other in others { try ip("route", change, "blackhole", "\(other)/32") }
    }
  }

  /// Carries no packets from and to a member any more.
  package func part(_ number: Int) async throws {
    try await hub.inside { try ip("link", "set", "m\(number)", "nomaster") }
  }

  /// Carries them again.
  package func join(_ number: Int) async throws {
    try await hub.inside { try ip("link", "set", "m\(number)", "master", "hub") }
  }
}
