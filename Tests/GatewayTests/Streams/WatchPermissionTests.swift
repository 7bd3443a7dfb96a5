import TestSupport
import Testing

/// Permissions of watches: sharing never shows a user more than etcd would.
@Suite(.timeLimit(.minutes(15)))
struct WatchPermissionTests {
  private static let watch = #"{"create_request":{"key":"YQ=="}}"#

  @Test(arguments: EtcdVersion.allCases)
  func twoUsersNeverShare(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      try await fixture.addUser("bob", password: "bobpw")
      let users = ["ann:annpw", "bob:bobpw"]
      var readers: [WatchReader] = []
      for user in users + users { readers.append(try await .open(gateway.url, user: user)) }
      // Each has a watcher of its own until it has caught up and joined; etcd executes later requests after that.
      for _ in 0..<2 {
        let last = try await fixture.put("a")
        for reader in readers { #expect(try await reader.revisions(through: last) == [last]) }
      }
      for user in users { readers.append(try await .open(gateway.url, key: "b", user: user)) }
      _ = try await eventually("two watchers for each user") {
        try await fixture.etcd.watchers() == 2 * users.count ? true : nil
      }
    }
  }

  /// A watch that is denied, as the gateway inside etcd answers it: 200, and a frame that says so.
  @Test(arguments: EtcdVersion.allCases)
  func whoHasNoRightCannotJoin(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      let etcd = fixture.etcd
      try await fixture.asRoot("/v3/auth/user/add", ["name": "eve", "password": "evepw"])
      let ann = try await WatchReader.open(gateway.url, user: "ann:annpw")
      let token = try await etcd.token(user: "eve", password: "evepw")
      let stocks = try await JSONStream.open(
        etcd.url, "/v3/watch", Self.watch, headers: [("Authorization", token)])
      let ours = try await JSONStream.open(gateway.url, "/v3/watch", Self.watch, user: "eve:evepw")
      let expected = try #require(try await stocks.next())
      let denied = try #require(try await ours.next())
      #expect(denied["canceled"] == true)
      // For a watch that was never created, 3.5.1 answers with the requested id, 3.4 with -1, and so does etcd-rest.
      for member in ["canceled", "created", "cancel_reason", "events"] {
        #expect(denied[member] == expected[member], "\(member): \(denied) in place of \(expected)")
      }
      _ = try await fixture.put("a")
      let last = try await fixture.put("a")
      #expect(try await ann.revisions(through: last).last == last)
      #expect(try await ours.next() == nil)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoHasLostTheRightCannotJoinHisOwnWatch(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      let early = try await WatchReader.open(gateway.url, user: "ann:annpw")
      try await fixture.asRoot("/v3/auth/user/revoke", ["name": "ann", "role": "everything"])
      let late = try await JSONStream.open(gateway.url, "/v3/watch", Self.watch, user: "ann:annpw")
      let denied = try #require(try await late.next())
      #expect(denied["canceled"] == true, "\(denied)")
      #expect(try await late.next() == nil)
      // What is shared is lost by all clients that share it.
      let canceled = try await early.canceled()
      #expect(canceled["cancel_reason"]?.string?.contains("permission denied") == true, "\(canceled)")
    }
  }

  /// When a watch has to begin again at etcd, etcd checks the permission again.
  @Test(arguments: EtcdVersion.allCases)
  func losingTheRightEndsAWatchThatIsResumed(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      let readers = try await WatchReader.open(3) { _ in try await .open(gateway.url, user: "ann:annpw") }
      try await fixture.asRoot("/v3/auth/user/revoke", ["name": "ann", "role": "everything"])
      try await fixture.etcd.restart()
      for reader in readers {
        let canceled = try await reader.canceled()
        #expect(canceled["cancel_reason"]?.string?.contains("permission denied") == true, "\(canceled)")
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aWatchWithoutCredentialsIsChallenged(_ version: EtcdVersion) async throws {
    try await withAuth(version) { _, gateway in
      for user in [nil, "ann:wrong"] {
        let stream = try await JSONStream.open(gateway.url, "/v3/watch", Self.watch, user: user)
        if user == nil && version == .v3_5_1 {
          // This version does not say that there is no user.
          #expect(try await stream.next()?["canceled"] == true)
          continue
        }
        let response = try await stream.response()
        expectChallenge(response)
      }
    }
  }

  /// Simple tokens expire some time after their last use, and a watch uses its own only once.
  @Test(arguments: EtcdVersion.allCases)
  func anExpiredTokenIsRenewed(_ version: EtcdVersion) async throws {
    try await withAuth(version, etcd: ["--auth-token-ttl", "1", "--log-level", "debug"], gateway: ["--shards", "1"]) {
      fixture, gateway in
      let early = try await WatchReader.open(gateway.url, user: "ann:annpw")
      let logins = try await fixture.logins()
      // Checking whether it has expired would keep it alive.
      try await fixture.awaitExpiredTokens(1)
      let late = try await WatchReader.open(gateway.url, ["prev_kv": true], user: "ann:annpw")
      #expect(try await fixture.logins() > logins)
      let last = try await fixture.put("a")
      #expect(try await early.revisions(through: last) == [last])
      #expect(try await late.revisions(through: last) == [last])
      await late.stream.close()
      // And again, when the streams have to begin anew with an expired token.
      try await fixture.awaitExpiredTokens(2)
      try await fixture.etcd.restart()
      let next = try await fixture.put("a")
      #expect(try await early.revisions(through: next) == [next])
    }
  }
}

extension AuthFixture {
  /// Waits until etcd's log says that so many tokens of ann's have expired.
  fileprivate func awaitExpiredTokens(_ count: Int) async throws {
    _ = try await eventually("the end of \(count) tokens", every: .milliseconds(100)) {
      let lines = etcd.log.split(separator: "\n")
      let expired = lines.count { $0.contains("deleted a simple token") && $0.contains(#""ann""#) }
      return expired >= count ? true : nil
    }
  }

  /// Puts a key as root, directly at etcd, and returns the revision.
  func put(_ key: String) async throws -> Int {
    try await withRootToken { try await etcd.put(key, token: $0) }
  }
}
