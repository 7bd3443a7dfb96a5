import Testing

@testable import GrpcBridge

/// How endpoints are written.
@Suite struct EndpointTests {
  @Test(
    arguments: [
      ("http://127.0.0.1:2379", "127.0.0.1", 2379, .plaintext), ("localhost:22379", "localhost", 22379, .asConfigured),
      ("etcd", "etcd", 2379, .asConfigured), ("http://etcd", "etcd", 2379, .plaintext),
      ("http://etcd:1/", "etcd", 1, .plaintext), ("[::1]:2379", "::1", 2379, .asConfigured),
      ("http://[::1]", "::1", 2379, .plaintext), ("https://etcd", "etcd", 2379, .tls),
      ("https://[::1]:1/", "::1", 1, .tls), ("unixsocket:1", "unixsocket", 1, .asConfigured),
      ("http://etcd_0.etcd-headless~x.Prod", "etcd_0.etcd-headless~x.Prod", 2379, .plaintext),
      ("http://[fe80::1%eth0]:1", "fe80::1%eth0", 1, .plaintext),
    ] as [(String, String, UInt16, Endpoint.Security)])
  func areRead(text: String, host: String, port: UInt16, security: Endpoint.Security) throws {
    let endpoint = try Endpoint(text)
    #expect(endpoint.host == host)
    #expect(endpoint.port == port)
    #expect(endpoint.path == nil)
    #expect(endpoint.security == security)
    #expect(try Endpoint(endpoint.description) == endpoint)
  }

  @Test(
    arguments: [
      ("unix:///run/etcd.sock", "/run/etcd.sock", .asConfigured), ("unix://etcd.sock:0", "etcd.sock:0", .asConfigured),
      ("unix:/run/etcd.sock", "/run/etcd.sock", .asConfigured), ("unixs:///run/a b", "/run/a b", .tls),
      ("unixs:relative", "relative", .tls),
    ] as [(String, String, Endpoint.Security)])
  func socketsAreRead(text: String, path: String, security: Endpoint.Security) throws {
    let endpoint = try Endpoint(text)
    #expect(endpoint.path == path)
    #expect(endpoint.authority == path)
    #expect(endpoint.security == security)
    #expect(try Endpoint(endpoint.description) == endpoint)
  }

  @Test(arguments: [
    "", "http://", ":2379", "etcd:", "etcd:0", "etcd:65536", "etcd:x", "etcd:1:2", "::1", "[::1", "[::1]x",
    "ftp://etcd", "https://", "unix://", "unix:", "unixs://", "http://etcd:1/path", "http://user@etcd", "a b",
    "unix:///" + String(repeating: "x", count: 107), "unix:///a\0b", "https://etcd:1?x", "://etcd",
    // A host goes into logs and metrics: nothing that no name has, also in one `Character` with something else.
    "http://a\r\nb:1", "http://a\nb", "http://a\tb", "http://a\0", "http://a\u{7F}", "http://a\u{85}b", "http://a\"b:1",
    "http://a\"\u{301}:1", "http://a'b", "http://a\\b", "http://a<b", "http://a,b", "http://a;b=c", "http://a%41",
    "http://ä", "http://a/\u{301}b", "http://a:\u{301}1", "a:1\u{301}", "http://[::1\n]:1", "http://[::1\"]:1",
    "http://[::1]\u{301}:1", "http://[etcd]:1", "http://[\u{301}::1]",
  ])
  func whatIsNoneIsRefusedByName(text: String) {
    let error = #expect(throws: Endpoint.ParseError.self) { try Endpoint(text) }
    #expect(error?.description.hasPrefix("endpoint '\(text)': ") == true)
  }
}
