import EtcdClient
import Testing
import TestSupport

/// Authentication, users and roles, against real etcds.
@Suite struct ClientAuthTests {
  @Test(arguments: ClientSetting.all)
  func usersAndRolesAreManaged(setting: ClientSetting) async throws {
    try await withClient(setting) { client, etcd in
      try await client.addUser("ann", password: "pw")
      try await client.addUser("cert", password: nil)
      #expect(try await Set(client.users()).isSuperset(of: ["ann", "cert"]))
      try await client.addRole("reader")
      #expect(try await client.roles() == (setting.hasAuth ? ["reader", "root"] : ["reader"]))
      try await client.grantPermission(.init(.read, on: .prefix("app/")), toRole: "reader")
      try await client.grantPermission(.init(.readWrite, on: .key("own")), toRole: "reader")
      try await client.grantPermission(.init(.write, on: .from("z")), toRole: "reader")
      #expect(
        try await Set(client.permissions(ofRole: "reader")) == [
          .init(.read, on: .prefix("app/")), .init(.readWrite, on: .key("own")), .init(.write, on: .from("z")),
        ])
      try await client.revokePermission(on: .from("z"), fromRole: "reader")
      #expect(try await client.permissions(ofRole: "reader").count == 2)
      try await client.grantRole("reader", toUser: "ann")
      #expect(try await client.roles(ofUser: "ann") == ["reader"])
      try await client.changePassword(ofUser: "ann", to: "other")
      if setting.hasAuth {
        try await client.put("app/k", "v")
        try await withClient(to: [etcd.url], .basic(user: "ann", password: "other")) { ann in
          #expect(try await ann.get("app/k").first?.value == "v")
          try await ann.put("own", "mine")
          await expectError(.permissionDenied) { try await ann.put("app/k", "w") }
          await expectError(.permissionDenied) { try await ann.users() }
        }
        let token = try await client.authenticate(user: "ann", password: "other")
        try await withClient(to: [etcd.url], .token(token)) { ann in
          let found = try await ann.get("app/k")
          #expect(found.first?.value == "v")
        }
        await expectError(.authFailed) { try await client.authenticate(user: "ann", password: "pw") }
      } else {
        await expectError(.authNotEnabled) { try await client.authenticate(user: "ann", password: "other") }
      }
      try await client.revokeRole("reader", fromUser: "ann")
      #expect(try await client.roles(ofUser: "ann").isEmpty)
      try await client.deleteRole("reader")
      try await client.deleteUser("ann")
      try await client.deleteUser("cert")
    }
  }

  @Test(arguments: ClientSetting.all)
  func errorsOfUsersHaveTheirNames(setting: ClientSetting) async throws {
    try await withClient(setting) { client, _ in
      try await client.addUser("ann", password: "pw")
      try await client.addRole("reader")
      await expectError(.userAlreadyExist) { try await client.addUser("ann", password: "pw") }
      await expectError(.userEmpty) { try await client.addUser("", password: "pw") }
      await expectError(.userNotFound) { try await client.deleteUser("bob") }
      await expectError(.roleAlreadyExist) { try await client.addRole("reader") }
      await expectError(.roleNotFound) { try await client.grantRole("writer", toUser: "ann") }
      await expectError(.roleNotFound) { try await client.permissions(ofRole: "writer") }
      await expectError(.roleEmpty) { try await client.addRole("") }
      await expectError(.roleNotGranted) { try await client.revokeRole("reader", fromUser: "ann") }
      await expectError(.permissionNotGranted) { try await client.revokePermission(on: .key("k"), fromRole: "reader") }
      if setting.hasAuth {
        await expectError(.invalidAuthMgmt) { try await client.deleteUser("root") }
      } else {
        await expectError(.rootUserNotExist) { try await client.enableAuth() }
        try await client.addUser("root", password: "pw")
        await expectError(.rootRoleNotExist) { try await client.enableAuth() }
      }
    }
  }

  /// The same client, while authentication is switched on and off beneath it.
  @Test(arguments: EtcdVersion.allCases)
  func authenticationIsSwitchedOnAndOff(version: EtcdVersion) async throws {
    try await withClient(ClientSetting(version: version, hasAuth: false)) { nobody, etcd in
      try await withClient(to: [etcd.url], .basic(user: "root", password: "pw")) { root in
        try await root.addUser("root", password: "pw")
        try await root.addRole("root")
        try await root.grantRole("root", toUser: "root")
        try await root.enableAuth()
        try await root.put("k", "v")
        await expectError(.userEmpty) { try await nobody.get("k") }
        if version > .v3_4 { #expect(try await root.authStatus().isEnabled) }
        try await root.disableAuth()
        #expect(try await nobody.get("k").first?.value == "v")
        #expect(try await root.get("k").first?.value == "v")
        if version > .v3_4 {
          #expect(try await nobody.authStatus().isEnabled == false)
        } else {
          await expectError(.unimplemented) { try await nobody.authStatus() }
        }
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoeverIsRefusedHearsWhy(version: EtcdVersion) async throws {
    try await withClient(ClientSetting(version: version, hasAuth: true)) { _, etcd in
      try await withClient(to: [etcd.url], .basic(user: "root", password: "wrong")) { client in
        let error = await expectError(.authFailed) { try await client.get("k") }
        #expect(error?.name == "ErrGRPCAuthFailed")
        await expectError(.authFailed) { try await client.defragment() }
      }
      try await withClient(to: [etcd.url], .token("nonsense")) { client in
        await expectError(.invalidAuthToken) { try await client.get("k") }
        // etcd sends these errors as Unknown.
        let error = await expectError(.invalidAuthToken) { try await client.hash() }
        #expect(error?.grpcCode == .unauthenticated && error?.message == "auth: invalid auth token")
      }
    }
  }

  /// Tokens are lost with a restart; no caller notices.
  @Test(arguments: EtcdVersion.allCases)
  func aLostTokenIsRenewed(version: EtcdVersion) async throws {
    try await withClient(ClientSetting(version: version, hasAuth: true)) { client, etcd in
      try await client.put("k", "v")
      try await etcd.restart()
      #expect(try await client.get("k").first?.value == "v")
      try await client.put("k", "w")
    }
  }
}
