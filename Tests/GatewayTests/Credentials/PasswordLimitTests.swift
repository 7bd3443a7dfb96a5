import TestSupport
import Testing

/// bcrypt compares 72 bytes of a password: a longer one is refused, as etcd would accept every text with the same
/// beginning.
@Suite struct PasswordLimitTests {
  private static let longest = String(repeating: "p", count: 72)

  @Test(arguments: EtcdVersion.allCases)
  func aLongerOneIsRefusedWhereItIsUsedAndWhereItIsSet(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.addUser("long", password: Self.longest)
      expectStatus(200, try await gateway.get("long:\(Self.longest)"))
      let before = try await fixture.logins()
      expectError(try await gateway.get("long:\(Self.longest)x"), 400, code: 3)
      expectError(try await gateway.http.get("/keys/a", user: "long:\(Self.longest)x"), 400, code: 3)
      // Two bytes a character.
      expectError(try await gateway.get("long:\(String(repeating: "\u{e9}", count: 37))"), 400, code: 3)
      for path in ["/v3/auth/authenticate", "/v3/auth/user/add", "/v3/auth/user/changepw"] {
        let response = try await gateway.http.post(
          path, ["name": "long", "password": .string(Self.longest + "x")], user: AuthFixture.root)
        expectError(response, 400, code: 3, path)
        #expect(response.message?.contains("72 bytes") == true, "\(response)")
      }
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/auth/authenticate")
      try await socket.send(["name": "long", "password": .string(Self.longest + "x")])
      #expect(try await socket.receiveJSON()["code"] == 3)
      try await socket.send(["name": "long", "password": .string(Self.longest)])
      #expect(try await socket.receiveJSON()["token"] != nil)
      #expect(try await fixture.logins() <= before + 2, "refused without etcd")
    }
  }
}
