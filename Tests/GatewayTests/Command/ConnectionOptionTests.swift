import ArgumentParser
import EventLoop
import Testing

@testable import Gateway
@testable import HTTPServer

/// What the flags for clients' connections become.
@Suite struct ConnectionOptionTests {
  /// The limits of a server with these flags.
  private func server(
    with flags: [String], shards: Int = 1, proxies: String = ""
  ) throws -> HTTPServer.Limits {
    var limits = HTTPServer.Limits()
    limits.proxies = try #require(TrustedProxies(proxies))
    try ConnectionOptions.parse(flags).apply(to: &limits, shards: shards, CommandEnvironment())
    return limits
  }

  /// How many connections of an address are admitted; nil if there is no limit.
  private func most(of host: String, _ limits: HTTPServer.Limits) throws -> Int? {
    let client = try #require(SocketAddress(numericHost: host, port: 40_000))
    let counts = try #require(limits.addresses)
    var places: [AddressCounts.Place] = []
    while true {
      switch counts.admit(client) {
      case .unlimited: return nil
      case .admitted(let place): places.append(place)
      case .refused: return places.count
      }
    }
  }

  private static let others = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"]
  private static let own = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]

  /// By default an address has half of all connections, however many shards there are; those of this machine have no
  /// limit, as a proxy may run there.
  @Test(
    arguments: [
      ([], 5000), (["--max-connections", "100"], 50), (["--max-connections", "7"], 3), (["--max-connections", "1"], 1),
    ] as [([String], Int)], [1, 4])
  func theDefaultIsHalfOfAll(_ flags: ([String], Int), _ shards: Int) throws {
    let limits = try server(with: flags.0, shards: shards)
    for host in Self.others { #expect(try most(of: host, limits) == flags.1, "\(host)") }
    for host in Self.own { #expect(try most(of: host, limits) == nil, "\(host)") }
  }

  @Test func theFlagIsForAllAddresses() throws {
    let limits = try server(with: ["--max-connections-per-address", "7", "--max-connections", "100"])
    for host in Self.others + Self.own { #expect(try most(of: host, limits) == 7, "\(host)") }
  }

  @Test(arguments: [[], ["--max-connections-per-address", "7"]])
  func trustedProxiesHaveNoLimit(_ flags: [String]) throws {
    let limits = try server(with: ["--max-connections", "100"] + flags, proxies: "192.0.2.0/24,127.0.0.1")
    for host in ["192.0.2.1", "::ffff:192.0.2.1", "127.0.0.1"] { #expect(try most(of: host, limits) == nil, "\(host)") }
    for host in ["192.0.3.1", "2001:db8::1"] { #expect(try most(of: host, limits) != nil, "\(host)") }
  }

  /// All shards together may have as many as the flag says.
  @Test(arguments: [(1, 10_000), (3, 3334), (256, 40)])
  func theConnectionsAreSharedOut(_ shards: Int, _ each: Int) throws {
    #expect(try server(with: [], shards: shards).connections == each)
  }

  @Test(arguments: ["0", "1000001"])
  func whatMakesNoSenseIsRefused(_ number: String) {
    for flag in ["--max-connections", "--max-connections-per-address"] {
      #expect(throws: (any Error).self) { try server(with: [flag, number]) }
    }
  }
}
