import Testing

@testable import HTTPServer

/// The hosts that requests without credentials may name: none that may be a page's own.
@Suite struct AllowedHostsTests {
  @Test(arguments: [
    "127.0.0.1", "127.0.0.1:8379", "[::1]:8379", "[2001:db8::1]", "localhost", "LocalHost:80", "app.localhost",
    "gateway",
    "gateway:8379", "etcd.example", "ETCD.example:443", "etcd.example.",
  ])
  func addressesAndNamesOfOneNetworkAndListedOnesAre(_ host: String) throws {
    let hosts = try #require(AllowedHosts("etcd.example, other"))
    #expect(hosts.allow(host.utf8))
  }

  @Test(arguments: [
    "", ":80", ".", "evil.example", "evil.example:8379", "127.0.0.1.evil.example", "1.2.3", "1.2.3.4.5", "256.1.1.1",
    "1.2.3.4:x", "[::1", "[::1]x", "[evil.example]", "sub.etcd.example", "etcd.example.evil", "evillocalhost.com",
    "ai.",
  ])
  func othersAreNot(_ host: String) throws {
    let (hosts, all) = (try #require(AllowedHosts("etcd.example")), try #require(AllowedHosts("*")))
    #expect(!hosts.allow(host.utf8))
    #expect(all.allow(host.utf8))
  }

  @Test(arguments: ["a,,b", "http://a", "a:80", "*.example", ".", " "])
  func whatIsNoNameCannotBeListed(_ list: String) { #expect(AllowedHosts(list) == nil) }

  @Test func aFinalDotMakesNoDifference() throws {
    let hosts = try #require(AllowedHosts("etcd.example., other.example"))
    #expect(
      hosts.allow("etcd.example".utf8) && hosts.allow("etcd.example.:80".utf8) && hosts.allow("other.example.".utf8))
  }

  /// As a variable of the environment may be.
  @Test func emptyListsHaveNothing() throws {
    #expect(try #require(AllowedHosts("")).allow("etcd.example".utf8) == false)
    #expect(try #require(TrustedProxies("")).isEmpty)
    #expect(try #require(AllowedOrigins("")).isEmpty)
  }
}
