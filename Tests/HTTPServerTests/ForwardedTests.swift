@testable import EventLoop
import Testing

@testable import HTTPServer

/// The fields of proxies about a request, read from the right over the trusted ones.
@Suite struct ForwardedTests {
  private static let peer = "127.0.0.1"

  /// The result for these header fields if 127.0.0.0/8 and 10.0.0.0/8 are trusted, and the request is from one of them.
  private func resolve(_ fields: [(String, String)]) throws -> Forwarded {
    let proxies = try #require(TrustedProxies("127.0.0.0/8, 10.0.0.0/8"))
    // One memory for all, which outlives the fields.
    let bytes = fields.flatMap { Array($0.0.utf8) + Array($0.1.utf8) }
    return bytes.withUnsafeBufferPointer { bytes in
      var taken = ForwardedFields()
      var start = 0
      for (name, value) in fields {
        let middle = start + name.utf8.count
        let end = middle + value.utf8.count
        taken.take(
          UnsafeBufferPointer(rebasing: bytes[start..<middle]), UnsafeBufferPointer(rebasing: bytes[middle..<end]))
        start = end
      }
      return taken.resolve(from: IPAddress(Self.peer.utf8)) { proxies.contains($0) }
    }
  }

  private func said(_ client: String, _ isSecure: Bool?, _ host: String?) -> Forwarded {
    Forwarded(client: IPAddress(client.utf8), isSecure: isSecure, host: host)
  }

  @Test(arguments: [
    ("1.2.3.4", "1.2.3.4"), ("6.6.6.6, 1.2.3.4", "1.2.3.4"), ("6.6.6.6,1.2.3.4 ,10.1.1.1", "1.2.3.4"),
    ("10.2.2.2, 10.1.1.1", "10.2.2.2"), ("1.2.3.4:5678", "1.2.3.4"), ("2001:db8::1", "2001:db8::1"),
    ("[2001:db8::1]:5678", "2001:db8::1"), ("::ffff:1.2.3.4", "1.2.3.4"), ("1.2.3.4, 10.1.1.1, unknown", peer),
    ("1.2.3.4, junk, 10.1.1.1", "10.1.1.1"), ("", peer), (",", peer), ("1.2.3.4,", peer), ("[1.2.3.4]", peer),
    ("1.2.3.4:", peer), ("[::1", peer), ("1.2.3.4.5", peer),
    (String(repeating: "10.0.0.1,", count: 5000) + "10.0.0.2", "10.0.0.1"),
  ])
  func clientsAreThoseBehindTheLastTrustedProxy(_ list: String, _ client: String) throws {
    #expect(try resolve([("X-Forwarded-For", list)]).client?.description == client)
    let parts = list.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    #expect(try resolve(parts.map { ("x-forwarded-for", $0) }).client?.description == client)
  }

  @Test(arguments: [
    ("for=1.2.3.4", "1.2.3.4"), ("For=\"1.2.3.4:80\"", "1.2.3.4"), ("for=6.6.6.6, for=1.2.3.4;by=_x", "1.2.3.4"),
    ("for=\"[2001:db8::1]:99\"", "2001:db8::1"), ("for=_hidden", peer), ("for=unknown", peer),
    ("for=1.2.3.4, for=10.1.1.1", "1.2.3.4"), ("for=1.2.3.4;proto=http, for=_secret", peer),
    (", ,for=1.2.3.4 ,", "1.2.3.4"), ("for = 1.2.3.4", peer), ("for=\"evil, for=1.2.3.4", peer),
    ("for=1.2.3.4;for=5.6.7.8", peer), ("for=", peer), ("=1.2.3.4", peer), ("for=1.2.3.4 x", peer),
    ("for=\"1.2.3\\.4\"", "1.2.3.4"), ("for=6.6.6.6;x=\"a,b;c\", for=1.2.3.4", "1.2.3.4"),
  ])
  func theStandardFieldSaysTheSame(_ value: String, _ client: String) throws {
    #expect(try resolve([("Forwarded", value)]).client?.description == client)
  }

  @Test func schemeAndHostAreThoseOfTheClientsRequest() throws {
    let old = try resolve([
      ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "HTTPS"), ("X-Forwarded-Host", "a.example:8080"),
    ])
    #expect(old == said("1.2.3.4", true, "a.example:8080"))
    #expect(try resolve([("X-Forwarded-Host", "a.example")]) == said(Self.peer, nil, "a.example"))
    // Of several hosts, the one that the outermost trusted proxy has added.
    let chain = try resolve([
      ("X-Forwarded-For", "1.2.3.4, 10.1.1.1"), ("X-Forwarded-Host", "evil.example, a.example, inner"),
    ])
    #expect(chain == said("1.2.3.4", nil, "a.example"))
    let new = try resolve([("Forwarded", "for=1.2.3.4;host=\"a.example:1\";proto=http, for=10.1.1.1;host=inner")])
    #expect(new == said("1.2.3.4", false, "a.example:1"))
    for host in ["a/b", "a b", "a@b", String(repeating: "a", count: 300), ""] {
      #expect(try resolve([("X-Forwarded-Host", host)]).host == nil, "\(host)")
    }
    #expect(try resolve([("X-Forwarded-Proto", "gopher")]).isSecure == nil)
  }

  /// A proxy that writes one kind of field passes the other one on as the client has made it up.
  @Test func twoKindsThatDisagreeAreNotBelieved() throws {
    let two = try resolve([("Forwarded", "for=6.6.6.6;host=localhost"), ("X-Forwarded-For", "1.2.3.4")])
    #expect(two == said(Self.peer, nil, nil))
    let same = try resolve([("Forwarded", "for=1.2.3.4;host=localhost"), ("X-Forwarded-For", "1.2.3.4")])
    #expect(same == said("1.2.3.4", nil, nil))
    #expect(try resolve([("Forwarded", "for=6.6.6.6"), ("X-Forwarded-Host", "a")]) == said(Self.peer, nil, nil))
  }

  @Test func rangesAreReadAsEverywhere() throws {
    let proxies = try #require(TrustedProxies("10.0.0.0/8,2001:db8::/33, 192.0.2.7,unix"))
    for (address, isTrusted) in [
      ("10.255.0.1", true), ("11.0.0.1", false), ("2001:db8:7fff::1", true), ("2001:db8:8000::1", false),
      ("192.0.2.7", true), ("192.0.2.8", false), ("::ffff:10.0.0.1", true),
    ] {
      let address = try #require(IPAddress(address.utf8))
      #expect(proxies.contains(address) == isTrusted, "\(address)")
    }
    #expect(proxies.contains(nil))
    let addresses = try #require(TrustedProxies("0.0.0.0/0"))
    #expect(!addresses.contains(nil))
    for bad in ["10.0.0.0/33", "::/129", "x", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", " ", "10.0.0.1,"] {
      #expect(TrustedProxies(bad) == nil, "\(bad)")
    }
  }
}

@Suite struct ProxyGreetingTests {
  private func parse(_ text: String) -> ProxyGreeting { parse(Array(text.utf8)) }
  private func parse(_ bytes: [UInt8]) -> ProxyGreeting { bytes.withUnsafeBytes { ProxyGreeting($0) } }
  private static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10] + Array("QUIT\n".utf8)
  private static let client = IPAddress(v4: 0x0102_0304)

  @Test func aLineTellsTheClient() throws {
    let line = "PROXY TCP4 1.2.3.4 5.6.7.8 56324 443\r\n"
    #expect(parse(line + "GET /") == .complete(.address(Self.client, port: 56324), length: line.utf8.count))
    let six = "PROXY TCP6 2001:db8::1 ::1 1 2\r\n"
    let address = try #require(IPAddress("2001:db8::1".utf8))
    #expect(parse(six) == .complete(.address(address, port: 1), length: six.utf8.count))
    #expect(parse("PROXY UNKNOWN\r\n") == .complete(.proxy, length: 15))
    #expect(parse("PROXY UNKNOWN ffff:f...f:ffff 1 2\r\nx") == .complete(.proxy, length: 35))
    for end in 0..<line.utf8.count { #expect(parse(Array(line.utf8.prefix(end))) == .incomplete, "\(end)") }
  }

  @Test(arguments: [
    "GET / HTTP/1.1\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
    "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
    "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "PROXY \r\n", "PROXY UDP4 a b 1 2\r\n",
    "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY UNKNOWN" + String(repeating: " ", count: 100), "\u{16}\u{3}\u{1}",
  ])
  func otherLinesAreMalformed(_ line: String) { #expect(parse(line) == .malformed) }

  @Test func theSecondVersionIsBinary() throws {
    let addresses: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187]
    let greeting = Self.signature + [0x21, 0x11, 0, 15] + addresses + [4, 0, 0]
    #expect(parse(greeting + [22]) == .complete(.address(Self.client, port: 80), length: greeting.count))
    for end in greeting.indices { #expect(parse(Array(greeting[..<end])) == .incomplete, "\(end)") }
    #expect(parse(Self.signature + [0x20, 0, 0, 0]) == .complete(.proxy, length: 16))
    #expect(parse(Self.signature + [0x21, 0, 0, 0]) == .complete(.proxy, length: 16))
    let six = Self.signature + [0x21, 0x21, 0, 36] + [UInt8](repeating: 1, count: 36)
    #expect(
      parse(six)
        == .complete(
          .address(IPAddress(high: 0x0101_0101_0101_0101, low: 0x0101_0101_0101_0101), port: 257), length: 52))
    #expect(
      parse(Self.signature + [0x21, 0x31, 0, 216] + [UInt8](repeating: 1, count: 216)) == .complete(.local, length: 232)
    )
    for head: [UInt8] in [
      [0x11, 0x11, 0, 12], [0x22, 0x11, 0, 12], [0x21, 0x12, 0, 12], [0x21, 0x11, 0, 11], [0x21, 0x21, 0, 35],
      [0x21, 0x11, 0xFF, 0xFF],
    ] { #expect(parse(Self.signature + head + addresses) == .malformed, "\(head)") }
  }
}
