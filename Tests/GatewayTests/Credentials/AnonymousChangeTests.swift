import TestSupport
import Testing

/// Changes that old etcds accept from any client, though authentication is on.
@Suite struct AnonymousChangeTests {
  private static let versions = Set(EtcdVersion.allCases + EtcdVersion.ofUpstream).sorted()
  private static let alarm: JSON = ["action": "ACTIVATE", "alarm": "NOSPACE"]
  private static let calm: JSON = ["action": "DEACTIVATE", "alarm": "NOSPACE"]

  /// The changes that no anonymous client may make, each with a request that etcd 3.4.23 or 3.5.1 executes, some only
  /// while it has an alarm.
  private static let changes: [(path: String, body: JSON)] = [
    ("/v3/maintenance/alarm", alarm), ("/v3/maintenance/alarm", ["action": 2]),
    ("/v3/kv/compaction", ["revision": "2"]), ("/v3/kv/deleterange", ["key": "YQ=="]), ("/v3/kv/txn", [:]),
    ("/v3/kv/txn", ["success": [["request_delete_range": ["key": "YQ=="]]]]),
    ("/v3/lease/grant", ["TTL": "60"]), ("/v3/lease/revoke", ["ID": "7"]), ("/v3/kv/lease/revoke", ["ID": "7"]),
    ("/v3/lease/keepalive", ["ID": "7"]),
    ("/v3/auth/enable", [:]), ("/v3/auth/user/add", ["name": "eve", "password": "eve"]),
    ("/v3/auth/user/changepw", ["name": "ann", "password": "eve"]), ("/v3/auth/user/delete", ["name": "ann"]),
    ("/v3/auth/user/get", ["name": "ann"]), ("/v3/auth/user/list", [:]),
    ("/v3/auth/user/grant", ["user": "ann", "role": "root"]), ("/v3/auth/user/revoke", ["name": "ann", "role": "e"]),
    ("/v3/auth/role/add", ["name": "eve"]), ("/v3/auth/role/delete", ["role": "everything"]),
    ("/v3/auth/role/get", ["role": "everything"]), ("/v3/auth/role/list", [:]),
    ("/v3/auth/role/grant", ["name": "everything", "perm": ["key": "YQ=="]]),
    ("/v3/auth/role/revoke", ["role": "everything", "key": "AA==", "range_end": "AA=="]),
    ("/v3/maintenance/downgrade", ["action": "CANCEL"]), ("/v3/auth/disable", [:]),
  ]

  @Test(arguments: versions)
  func nobodyChangesAnythingWhereAuthenticationIsOn(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      for _ in 0..<3 {
        expectStatus(
          200, try await gateway.http.post("/v3/kv/put", ["key": "YQ==", "value": "MQ=="], user: "ann:annpw"))
      }
      expectStatus(
        200, try await gateway.http.post("/v3/lease/grant", ["ID": "7", "TTL": "600"], user: AuthFixture.root))
      for raised in [false, true] {
        if raised {
          expectStatus(200, try await gateway.http.post("/v3/maintenance/alarm", Self.alarm, user: AuthFixture.root))
        }
        for (path, body) in Self.changes {
          let response = try await gateway.http.post(path, body)
          expectChallenge(response)
          #expect(response.code == 3 || response.code == 16, "\(path): \(response)")
        }
        for (method, path) in [("DELETE", "/keys/a"), ("DELETE", "/keys?prefix=a"), ("PUT", "/keys/a?ttl=60s")] {
          expectStatus(401, try await gateway.http.request(method, path, body: method == "PUT" ? [49] : nil))
        }
      }
      expectStatus(200, try await gateway.http.post("/v3/maintenance/alarm", Self.calm, user: AuthFixture.root))
      // Nothing was executed.
      let key = try await gateway.http.post("/v3/kv/range", ["key": "YQ=="], user: "ann:annpw")
      #expect(try key.json["kvs"]?[0]?["version"] == "3")
      let lease = try await gateway.http.post("/v3/lease/timetolive", ["ID": "7"], user: AuthFixture.root)
      #expect(try lease.json["grantedTTL"] == "600", "\(lease)")
    }
  }

  /// Old releases do not look at the token of a keepalive.
  @Test(arguments: versions)
  func onlyATokenOfEtcdRenewsALease(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/lease/grant", ["ID": "7", "TTL": "600"])
      let login = try await gateway.http.post("/v3/auth/authenticate", ["name": "ann", "password": "annpw"])
      let token = try #require(try login.json["token"]?.string)
      for (path, body) in [("/v3/lease/keepalive", #"{"ID":"7"}"#), ("/leases/7/keepalive", "")] {
        for _ in 0..<2 {
          for invention in ["invented", "0" + token] {
            let headers = [("Authorization", "Bearer \(invention)")]
            expectError(try await gateway.http.post(path, body, headers: headers), 401, code: 16)
          }
          let headers = [("Authorization", "Bearer \(token)")]
          expectStatus(200, try await gateway.http.post(path, body, headers: headers))
        }
      }
    }
  }

  /// A stream to etcd from the time before authentication is kept open by its use.
  @Test(arguments: versions)
  func aKeepaliveFromBeforeAuthenticationIsNoPass(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--shards", "1"]) { etcd, gateway in
      try await etcd.call("/v3/lease/grant", ["ID": "7", "TTL": "600"])
      let callers = [[], [("Authorization", "Bearer invented")]] as [[(String, String)]]
      for headers in callers {
        expectStatus(200, try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"], headers: headers))
      }
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      for headers in callers {
        let response = try await eventually("a refusal") {
          let response = try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"], headers: headers)
          return response.status == 200 ? nil : response
        }
        expectStatus(401, response)
      }
      expectStatus(200, try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"], user: AuthFixture.root))
    }
  }

  @Test(arguments: versions)
  func aUserMayAndReadersStillCan(_ version: EtcdVersion) async throws {
    try await withAuth(version) { _, gateway in
      for body in [Self.alarm, Self.calm] {
        expectStatus(200, try await gateway.http.post("/v3/maintenance/alarm", body, user: AuthFixture.root))
      }
      // etcds before 3.5.28 report alarms to every client: health checks rely on that.
      let status = version < "3.5.28" ? 200 : 401
      expectStatus(status, try await gateway.http.post("/v3/maintenance/alarm", [:]))
      expectStatus(status, try await gateway.http.post("/v3/maintenance/alarm", ["alarm": "NOSPACE"]))
    }
  }

  @Test(arguments: versions)
  func withoutAuthenticationAllAreServed(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      for body in [Self.alarm, Self.calm] {
        expectStatus(200, try await gateway.http.post("/v3/maintenance/alarm", body))
      }
      let before = try await etcd.callsStarted(of: "Range")
      for _ in 0..<200 { expectStatus(200, try await gateway.http.post("/v3/kv/deleterange", ["key": "YQ=="])) }
      // One question a second is enough; a busy machine takes longer for so many calls.
      let probes = try await etcd.callsStarted(of: "Range") - before
      #expect(probes < 100, "\(probes) looks at whether authentication is on")
    }
  }

  /// A user who sent a password while authentication was off has no token: that is not forgotten when it is switched
  /// on.
  @Test(arguments: versions)
  func aLoginFromBeforeAuthenticationIsNoPass(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      expectStatus(200, try await gateway.get("ann:whatever"))
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      let response = try await eventually("a refusal") {
        let response = try await gateway.http.post("/v3/maintenance/alarm", Self.alarm, user: "ann:whatever")
        // The gateway's knowledge about authentication may be a second old.
        return response.status == 200 ? nil : response
      }
      expectChallenge(response)
      expectStatus(200, try await gateway.http.post("/v3/maintenance/alarm", Self.alarm, user: AuthFixture.root))
    }
  }
}
