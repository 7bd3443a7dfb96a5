import HTTPServer
import Testing

@testable import Gateway

/// The routes of paths, by the table alone: no socket, no etcd.
@Suite struct RoutingTests {
  private let table: Gateway.RouteTable

  init() throws { table = try Gateway.RouteTable() }

  private func route(_ path: String) -> (route: Gateway.RouteTable.Route, template: String)? {
    var path = path
    return path.withUTF8 { bytes in table[bytes].map { ($0.route, table.templates[$0.number]) } }
  }

  @Test func everyPathOfTheTableLeadsSomewhere() throws {
    for (path, expected) in table.all where !path.contains("{") {
      let found = try #require(route(path), "\(path)")
      #expect(found.route.allow == expected.allow, "\(path)")
    }
  }

  /// A path with a part that varies is counted by its template.
  @Test(arguments: [
    ("/keys/a", "/keys/{key}"), ("/keys/", "/keys/{key}"), ("/keys/a/b//c%00", "/keys/{key}"),
    ("/leases/77", "/leases/{id}"), ("/leases/77/keepalive", "/leases/{id}/keepalive"),
    ("/locks/a", "/locks/{name}"), ("/locks/a/keepalive", "/locks/{name}/keepalive"),
    ("/elections/a", "/elections/{name}"), ("/elections/a/keepalive", "/elections/{name}/keepalive"),
    ("/elections/a/changes", "/elections/{name}/changes"),
  ])
  func pathsThatVaryHaveATemplate(_ path: String, _ template: String) throws {
    #expect(try #require(route(path), "\(path)").template == template)
  }

  /// Clients of etcd 3.2 and 3.3 use older prefixes, which are counted like today's.
  @Test(arguments: ["/v3/kv/range", "/v3beta/kv/range", "/v3alpha/kv/range"])
  func olderPrefixesLeadToTheSameRPC(_ path: String) throws {
    let found = try #require(route(path))
    #expect(found.template == "/v3/kv/range")
    #expect(found.route.takes(.post) && !found.route.takes(.get) && found.route.rpc != nil)
  }

  @Test(arguments: [
    "", "*", "/v3", "/v3/", "/v3/kv", "/v3/kv/range/", "/v3//kv/range", "/V3/kv/range", "/v3/kv/range\0",
    "v3/kv/range",
    "/keysa", "/v4/kv/range", "/v2/keys/a", "/%6beys/a", "/snapshot/", "/../keys",
  ])
  func otherPathsLeadNowhere(_ path: String) { #expect(route(path) == nil) }

  @Test func methodsAreThoseOfTheResource() throws {
    let methods: [(String, String)] = [
      ("/keys", "GET, HEAD, POST, PUT, DELETE, OPTIONS"), ("/keys/a", "GET, HEAD, PUT, DELETE, OPTIONS"),
      ("/txn", "POST, OPTIONS"), ("/changes", "GET, HEAD, OPTIONS"), ("/leases/7", "GET, HEAD, DELETE, OPTIONS"),
      ("/snapshot", "GET, HEAD, OPTIONS"), ("/v3/watch", "POST, OPTIONS"),
      ("/elections/a/changes", "GET, HEAD, OPTIONS"),
    ]
    for (path, allow) in methods { #expect(try #require(route(path)).route.allow == allow, "\(path)") }
  }

  /// HEAD is the same as GET without the body (RFC 9110, section 9.3.2).
  @Test func headGoesWhereverGetGoes() {
    for (path, route) in table.all { #expect(route.takes(.get) == route.takes(.head), "\(path)") }
  }
}
