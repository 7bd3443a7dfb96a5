import Foundation
import TestSupport
import Testing

/// The answers of `/keys` to users without the permission.
@Suite(.timeLimit(.minutes(15)))
struct KeyDenialTests {
  private static let requests: [(method: String, path: String, headers: [(String, String)])] = [
    ("GET", "/keys/a", []), ("HEAD", "/keys/a", []), ("GET", "/keys/a", [("If-None-Match", "*")]),
    ("PUT", "/keys/a", []), ("PUT", "/keys/a", [("If-Match", "*")]), ("PUT", "/keys/a", [("If-None-Match", "*")]),
    ("PUT", "/keys/a?prev=true", []), ("DELETE", "/keys/a", []), ("DELETE", "/keys/a", [("If-Match", "\"2\"")]),
    ("GET", "/keys?prefix=a", []), ("GET", "/keys?count_only=true", []), ("DELETE", "/keys?prefix=a", []),
    ("DELETE", "/keys?all=true", []), ("GET", "/keys?prefix=a", [("Accept", "application/x-ndjson")]),
  ]

  @Test(arguments: EtcdVersion.allCases)
  func everyRowIsDenied(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      let http = try await HTTPConnection.connect(to: gateway.url)
      expectStatus(200, try await http.key("PUT", "a", user: "ann:annpw", body: "v"))
      for (method, path, headers) in Self.requests {
        func ask(_ user: String?) async throws -> HTTPResponse {
          let body: [UInt8]? = method == "PUT" ? Array("w".utf8) : nil
          return try await gateway.http.request(method, path, user: user, headers: headers, body: body)
        }
        let (denied, wrong, nobody) = (try await ask("bob:bobpw"), try await ask("ann:x"), try await ask(nil))
        guard method != "HEAD" else {
          #expect(denied.status == 403 && wrong.status == 401 && nobody.status == 401)
          continue
        }
        expectError(denied, 403, code: 7)
        if headers.contains(where: { $0.0 == "Accept" }) {
          // A program that names a type is asked for a token alone.
          expectError(wrong, 401)
          #expect(challenges(of: wrong) == ["Bearer realm=\"etcd\""])
        } else {
          expectChallenge(wrong)
        }
        expectChallenge(nobody)
      }
      // Nothing of it was done.
      let after = try await http.key("GET", "a", user: "ann:annpw")
      #expect(after.text == "v" && after[header: "X-Etcd-Version"] == "1")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoMayReadMayNotWrite(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      try await fixture.asRoot("/v3/auth/role/add", ["name": "reader"])
      let permission: JSON = ["permType": "READ", "key": .string("a".base64), "range_end": .string("b".base64)]
      try await fixture.asRoot("/v3/auth/role/grant", ["name": "reader", "perm": permission])
      try await fixture.asRoot("/v3/auth/user/grant", ["user": "bob", "role": "reader"])
      let http = try await HTTPConnection.connect(to: gateway.url)
      expectStatus(200, try await http.key("PUT", "a", user: "ann:annpw", body: "v"))
      let bob = "bob:bobpw"
      expectStatus(200, try await http.key("GET", "a", user: bob))
      expectStatus(200, try await http.get("/keys?prefix=a", user: bob))
      expectError(try await http.key("PUT", "a", user: bob, body: "w"), 403, code: 7)
      // A condition reveals nothing to users who may not write, and does not let them write.
      for condition in [("If-None-Match", "*"), ("If-Match", "*")] {
        expectError(try await http.key("PUT", "a", user: bob, headers: [condition], body: "w"), 403, code: 7)
      }
      expectError(try await http.key("DELETE", "a", user: bob), 403, code: 7)
      expectError(try await http.get("/keys", user: bob), 403, code: 7)
      expectError(try await http.key("PUT", "a", "?ttl=60s", user: bob, body: "w"), 403, code: 7)
      #expect(try await gateway.http.post("/v3/lease/leases", [:], user: AuthFixture.root).json["leases"] == nil)
      #expect(try await http.key("GET", "a", user: bob).text == "v")
    }
  }

  /// etcd forgets its tokens when it is restarted.
  @Test func tokensAreRenewed() async throws {
    try await withAuth(.v3_5) { fixture, gateway in
      expectStatus(200, try await gateway.http.request("PUT", "/keys/a", user: "ann:annpw", body: [1]))
      try await fixture.etcd.restart()
      for (method, path, headers) in Self.requests where method != "DELETE" {
        let body: [UInt8]? = method == "PUT" ? [2] : nil
        let response = try await gateway.http.request(method, path, user: "ann:annpw", headers: headers, body: body)
        #expect([200, 304, 412].contains(response.status), "\(method) \(path): \(response)")
      }
    }
  }

  @Test func withoutEtcdThereIsNoService() async throws {
    // No service has this port.
    try await withGateway(["http://127.0.0.1:1"], ["--dial-timeout", "200ms"]) { gateway in
      for (method, path, headers) in Self.requests where method != "HEAD" {
        let body: [UInt8]? = method == "PUT" ? [2] : nil
        let response = try await gateway.http.request(method, path, headers: headers, body: body)
        expectError(response, 503, code: 14)
      }
    }
  }
}
