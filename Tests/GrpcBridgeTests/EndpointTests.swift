import Testing

@testable import GrpcBridge

/// How endpoints are written.
@Suite struct EndpointTests {
  @Test(
    arguments: [
      ("http://127.0.0.1:2379", "127.0.0.1", 2379), ("localhost:22379", "localhost", 22379), ("etcd", "etcd", 2379),
      ("http://etcd", "etcd", 2379), ("http://etcd:1/", "etcd", 1), ("[::1]:2379", "::1", 2379),
      ("http://[::1]", "::1", 2379),
    ] as [(String, String, UInt16)])
  func areRead(text: String, host: String, port: UInt16) throws {
    let endpoint = try Endpoint(text)
    #expect(endpoint.host == host)
    #expect(endpoint.port == port)
    #expect(try Endpoint(endpoint.description) == endpoint)
  }

  @Test(arguments: [
    "", "http://", ":2379", "etcd:", "etcd:0", "etcd:65536", "etcd:x", "etcd:1:2", "::1", "[::1", "[::1]x",
    "ftp://etcd",
    "https://etcd", "unix:///tmp/x", "http://etcd:1/path", "http://user@etcd", "a b",
  ])
  func whatIsNoneIsRefusedByName(text: String) {
    let error = #expect(throws: Endpoint.ParseError.self) { try Endpoint(text) }
    #expect(error?.description.hasPrefix("endpoint '\(text)': ") == true)
  }
}
