import EventLoop
import Testing

@testable import HTTPServer

/// Which connections count for the same address.
@Suite struct AddressCountsTests {
  private static func client(_ host: String) throws -> SocketAddress {
    try #require(SocketAddress(numericHost: host, port: 40_000))
  }

  /// Whether a second client is refused because of the first one, where an address may have one connection.
  private func isRefused(_ second: String, because first: String) throws -> Bool {
    let counts = AddressCounts(most: 1) { _ in false }
    let (one, other) = (try Self.client(first), try Self.client(second))
    let place = try #require(counts.admit(one).place)
    return withExtendedLifetime(place) { counts.admit(other).isRefused }
  }

  /// A socket for both kinds of address, as systemd makes them, reports IPv4 addresses within IPv6 ones.
  @Test(arguments: [
    ("1.2.3.4", "1.2.3.4"), ("1.2.3.4", "::ffff:1.2.3.4"), ("::ffff:1.2.3.4", "::ffff:102:304"),
    ("2001:db8::1", "2001:db8::2"), ("2001:db8::1", "2001:db8::ffff:1.2.3.4"),
  ])
  func theseAreOne(_ first: String, _ second: String) throws {
    #expect(try isRefused(second, because: first))
    #expect(try isRefused(first, because: second))
  }

  @Test(arguments: [
    ("1.2.3.4", "1.2.3.5"), ("::ffff:1.2.3.4", "::ffff:1.2.3.5"), ("::ffff:1.2.3.4", "::1"),
    ("::ffff:127.0.0.1", "::1"), ("2001:db8::1", "2001:db8:0:1::1"),
  ])
  func theseAreTwo(_ first: String, _ second: String) throws {
    #expect(try !isRefused(second, because: first))
    #expect(try !isRefused(first, because: second))
  }

  @Test func aPlaceIsFreeWhenItsConnectionHasGone() throws {
    let counts = AddressCounts(most: 2) { _ in false }
    let client = try Self.client("::ffff:1.2.3.4")
    var places = [counts.admit(client).place, counts.admit(client).place]
    #expect(places.allSatisfy { $0 != nil } && counts.admit(client).isRefused)
    places.removeLast()
    places.append(counts.admit(client).place)
    #expect(places.allSatisfy { $0 != nil } && counts.admit(client).isRefused)
  }

  @Test func exemptClientsAndThoseOfUnixSocketsHaveNoLimit() throws {
    let counts = AddressCounts(most: 1) { $0 == IPAddress("1.2.3.4".utf8) }
    let local = SocketAddress(nil, port: 0)
    let clients = [try Self.client("1.2.3.4"), try Self.client("::ffff:1.2.3.4"), local]
    for client in clients {
      for _ in 0..<3 { #expect(counts.admit(client).isUnlimited, "\(client)") }
    }
  }

  @Test(arguments: [
    ("127.0.0.1", true), ("127.255.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("126.0.0.1", false),
    ("128.0.0.1", false), ("::", false), ("::2", false), ("::127.0.0.1", false), ("::ffff:1.2.3.127", false),
    ("7f00:1::", false), ("1::1", false),
  ])
  func loopbackAddressesAreThoseOfThisMachine(_ text: String, _ isLoopback: Bool) throws {
    #expect(try #require(IPAddress(text.utf8)).isLoopback == isLoopback)
    #expect(try Self.client(text).ipAddress?.isLoopback == isLoopback)
  }
}

extension AddressCounts.Admission {
  fileprivate var place: AddressCounts.Place? { if case .admitted(let place) = self { place } else { nil } }
  fileprivate var isRefused: Bool { if case .refused = self { true } else { false } }
  fileprivate var isUnlimited: Bool { if case .unlimited = self { true } else { false } }
}
