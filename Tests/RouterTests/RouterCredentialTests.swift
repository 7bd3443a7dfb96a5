import EtcdSchema
import TestSupport
import Testing

@testable import Gateway

/// Whose token a request's calls have, and when its user is logged in.
@Suite(.timeLimit(.minutes(15)))
struct RouterCredentialTests {
  /// Runs `body` in front of an etcd with the user `ann`, whose keys all have the value `v`.
  private func withUsers(_ body: (Router, SimulatedEtcd) throws -> Void) throws {
    try withRouter { router, etcd in
      etcd.enableAuth(["ann": "annpw", "bob": "bobpw"])
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      try body(router, etcd)
    }
  }

  private func tokens(_ router: Router) -> [String?] { router.calls(of: EtcdRPC.range).map { $0.headers["token"] } }

  @Test func withoutCredentialsTheClientIsAskedForThem() throws {
    try withUsers { router, _ in
      let answer = try router.request("GET", "/keys/a")
      expectError(answer, 401, code: 16, "authentication required")
      #expect(challenges(of: answer) == ["Basic realm=\"etcd\"", "Bearer realm=\"etcd\""])
      #expect(tokens(router) == [nil])
    }
  }

  @Test func aUserIsLoggedInAtTheFirstRequestOnly() throws {
    try withUsers { router, etcd in
      for _ in 0..<3 { expectStatus(200, try router.request("GET", "/keys/a", user: "ann:annpw")) }
      #expect(etcd.loginCount == 1 && tokens(router) == ["ann.1", "ann.1", "ann.1"])
      expectStatus(200, try router.request("GET", "/keys/a", user: "bob:bobpw"))
      #expect(etcd.loginCount == 2 && tokens(router).last == "bob.2")
    }
  }

  @Test func requestsAtTheSameTimeShareALogin() throws {
    try withUsers { router, etcd in
      let clients = (0..<5).map { router.begin("GET", "/keys/\($0)", user: "ann:annpw") }
      try router.turn { clients.allSatisfy { $0.ending != nil } }
      for client in clients { #expect(try client.response().status == 200) }
      #expect(etcd.loginCount == 1 && router.calls(of: EtcdRPC.authenticate).count == 1)
    }
  }

  @Test func aWrongPasswordIsRefusedAndNothingElseAsked() throws {
    try withUsers { router, _ in
      _ = try router.request("GET", "/keys/a", user: "ann:annpw")
      let answer = try router.request("GET", "/keys/a", user: "ann:wrong")
      expectError(answer, 401, code: 3)
      #expect(challenges(of: answer) == ["Basic charset=\"UTF-8\",\trealm=\"etcd\""] && tokens(router).count == 1)
      // It is remembered for a moment.
      expectError(try router.request("GET", "/keys/a", user: "ann:wrong"), 401, code: 3)
      #expect(router.calls(of: EtcdRPC.authenticate).count == 2)
      // The right one is still known.
      expectStatus(200, try router.request("GET", "/keys/a", user: "ann:annpw"))
    }
  }

  @Test(arguments: ["Bearer ann.1", "ann.1"])
  func aTokenIsPassedOn(_ authorization: String) throws {
    try withUsers { router, etcd in
      _ = try router.request("GET", "/keys/a", user: "ann:annpw")
      let headers = [("Authorization", authorization)]
      expectStatus(200, try router.request("GET", "/keys/a", headers: headers))
      #expect(tokens(router) == ["ann.1", "ann.1"])
      etcd.forgetTokens()
      // The gateway has no password for another one.
      let refused = try router.request("GET", "/keys/a", headers: headers)
      expectError(refused, 401, code: 16)
      #expect(router.calls(of: EtcdRPC.authenticate).count == 1)
    }
  }

  @Test func aTokenThatEtcdForgetsIsRenewedOnce() throws {
    try withUsers { router, etcd in
      _ = try router.request("GET", "/keys/a", user: "ann:annpw")
      etcd.forgetTokens()
      #expect(try router.request("GET", "/keys/a", user: "ann:annpw").text == "v")
      #expect(tokens(router) == ["ann.1", "ann.1", "ann.2"] && etcd.loginCount == 2)
      expectStatus(200, try router.request("GET", "/keys/a", user: "ann:annpw"))
      #expect(tokens(router).last == "ann.2" && etcd.loginCount == 2)
    }
  }

  @Test func aChangedPasswordCountsAtTheNextRequest() throws {
    try withUsers { router, etcd in
      _ = try router.request("GET", "/keys/a", user: "ann:annpw")
      etcd.enableAuth(["ann": "new"])
      etcd.forgetTokens()
      expectError(try router.request("GET", "/keys/a", user: "ann:annpw"), 401, code: 3)
      expectStatus(200, try router.request("GET", "/keys/a", user: "ann:new"))
    }
  }

  /// Some releases of etcd would execute such a change.
  @Test func aChangeWithoutCredentialsDoesNotReachEtcd() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.deleteRange) { _ in .with { $0.deleted = 1 } }
      etcd.on(EtcdRPC.authEnable) { _ in
        etcd.enableAuth([:])
        return .init()
      }
      expectStatus(200, try router.request("DELETE", "/keys/a"))
      expectStatus(200, try router.request("POST", "/v3/auth/enable"))
      expectError(try router.request("DELETE", "/keys/a"), 401, code: 16)
      #expect(router.calls(of: EtcdRPC.deleteRange).count == 1)
    }
  }

  @Test func aStrangersBodyIsNotRead() throws {
    try withUsers { router, _ in
      let client = router.begin("PUT", "/keys/a", headers: [("Authorization", "Bearer x")], body: ["a", "b"])
      try router.turn { client.ending != nil }
      expectError(try client.response(), 401, code: 16)
      #expect(router.calls(of: EtcdRPC.put).isEmpty)
    }
  }

  @Test func aPasswordThatWasRefusedMayBecomeTheRightOne() throws {
    try withUsers { router, etcd in
      etcd.on(EtcdRPC.userChangePassword) { request in
        etcd.enableAuth([request.name: request.password])
        return .init()
      }
      expectStatus(401, try router.request("GET", "/keys/a", user: "ann:new"))
      let body = #"{"name":"ann","password":"new"}"#
      expectStatus(200, try router.request("POST", "/v3/auth/user/changepw", user: "ann:annpw", body: body))
      expectStatus(200, try router.request("GET", "/keys/a", user: "ann:new"))
    }
  }

  @Test func withoutAuthenticationCredentialsAreIgnored() throws {
    try withRouter { router, etcd in
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      for _ in 0..<2 { expectStatus(200, try router.request("GET", "/keys/a", user: "any:body")) }
      #expect(tokens(router) == [nil, nil] && router.calls(of: EtcdRPC.authenticate).count == 1)
    }
  }

  @Test(arguments: [
    ("Basic !!", 401, "base64"), ("Basic YW5u", 401, "base64"), ("Basic", 401, "nothing after its scheme"),
    ("Digest a=b", 401, "neither Basic nor Bearer"), ("Bearer a b", 401, "not allowed"),
    (
      "Basic YW5uOjEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM=",
      400, "password"
    ),
  ])
  func malformedCredentialsReachNobody(_ authorization: String, _ status: Int, _ words: String) throws {
    try withUsers { router, _ in
      let answer = try router.request("GET", "/keys/a", headers: [("Authorization", authorization)])
      expectError(answer, status, code: status == 401 ? 16 : 3, words)
      #expect(tokens(router).isEmpty && router.calls(of: EtcdRPC.authenticate).isEmpty)
    }
  }

  /// A client's own login is etcd's answer, and the token that it gets serves further requests.
  @Test func aClientMayLogInByItself() throws {
    try withUsers { router, etcd in
      let body = #"{"name":"ann","password":"annpw"}"#
      let answer = try router.request("POST", "/v3/auth/authenticate", body: body)
      #expect(try answer.status == 200 && answer.json["token"] == "ann.1", "\(answer)")
      let wrong = try router.request(
        "POST", "/v3/auth/authenticate", body: body.replacing("annpw", with: "x"))
      #expect(wrong.status == 400 && wrong.code == 3 && etcd.loginCount == 1, "\(wrong)")
    }
  }

  @Test func theGatewaysOwnUserServesAnonymousRequests() throws {
    try withRouter {
      $0.identity = .init(user: "bob", password: "bobpw")
    } _: { router, etcd in
      etcd.enableAuth(["ann": "annpw", "bob": "bobpw"])
      etcd.on(EtcdRPC.range) { request in .found(request.key, "v") }
      expectStatus(200, try router.request("GET", "/keys/a"))
      expectStatus(200, try router.request("GET", "/keys/a", user: "ann:annpw"))
      #expect(tokens(router) == ["bob.1", "ann.2"])
    }
  }
}
