import Foundation
import Synchronization
import TestSupport
import Testing

/// Guessing passwords: slow for the client that guesses, without effect on others.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct ThrottledLoginTests {
  /// The gateway forgives a failure a second, and etcd may take longer than that for a login. If one failure is enough,
  /// the next guess is held back however long the last one took.
  private static let strict = ["--max-login-failures", "1"]

  @Test(arguments: EtcdVersion.allCases)
  func whoGuessesIsHeldBackAndNobodyElse(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: Self.strict) { fixture, gateway in
      try await fixture.addUser("ben", password: "benpw")
      try await fixture.addUser("cleo", password: "cleopw")
      expectStatus(200, try await gateway.get("ben:benpw"))
      let before = try await fixture.logins()
      let (guesses, refusal) = try await guess(at: gateway) { "ann:guess\($0)" }
      expectError(refusal, 429, code: 8)
      #expect(refusal[header: "Retry-After"].flatMap { Int($0) } ?? 0 > 0)
      #expect(try await fixture.logins() - before == guesses, "a guess that is held back is no call to etcd")
      // Users who are logged in already continue from the same address, and others log in from another one.
      expectStatus(200, try await gateway.get("ben:benpw"))
      #expect(try await status(of: "cleo:cleopw", from: 2, gateway) == "200")
      // The name is held back from all addresses: none of these has failed before. At once, as one after another may be
      // slower than failures are forgiven. Each with a password of its own, as those with the same share a login.
      let statuses = try await withThrowingTaskGroup(of: String.self) { group in
        for address in 3..<23 {
          group.addTask { try await self.status(of: "ann:guess at \(address)", from: address, gateway) }
        }
        return try await group.reduce(into: Set()) { $0.insert($1) }
      }
      #expect(statuses.contains("429"))
    }
  }

  @Test func whoGuessesNamesIsHeldBackByAddress() async throws {
    try await withAuth(.v3_5, gateway: Self.strict) { fixture, gateway in
      let before = try await fixture.logins()
      let (guesses, refusal) = try await guess(at: gateway) { "user\($0):guess" }
      expectError(refusal, 429, code: 8)
      #expect(try await fixture.logins() - before == guesses, "a guess that is held back is no call to etcd")
      #expect(try await status(of: "ann:annpw", from: 2, gateway) == "200")
    }
  }

  @Test func manyWrongPasswordsAtOnceAreHeldBackToo() async throws {
    try await withAuth(.v3_5) { fixture, gateway in
      expectStatus(200, try await gateway.get(AuthFixture.root))
      let before = try await fixture.logins()
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for number in 0..<200 { group.addTask { try await gateway.get("ann:guess\(number)").status } }
        expectStatus(200, try await gateway.get(AuthFixture.root))
        return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
      }
      #expect(Set(statuses.keys).isSubset(of: [401, 429]), "\(statuses)")
      let cost = try await fixture.logins() - before
      #expect(cost < 60, "200 guesses cost \(cost) Authenticate calls")
    }
  }

  /// The route of `Authenticate` does not circumvent the throttle, and its success does not reset it.
  @Test func guessingByAuthenticateIsHeldBackToo() async throws {
    let logins = Mutex(0)
    try await withScriptedEtcd(
      script: { _ in .range },
      logIn: { call, password in
        logins.withLock { $0 += 1 }
        return password == "good"
          ? nil : .failure(3, "etcdserver: authentication failed, invalid user ID or password")
      }
    ) { peer, gateway in
      func authenticate(_ name: String, _ password: String) async throws -> HTTPResponse {
        try await gateway.http.post(
          "/v3/auth/authenticate", ["name": .string(name), "password": .string(password)])
      }
      var refused = 0
      for number in 0..<40 {
        let guess = try await authenticate("ann", "guess\(number)")
        #expect([400, 429].contains(guess.status))
        if guess.status == 429 { refused += 1 }
        if number < 5 { expectStatus(200, try await authenticate("ben", "good")) }
      }
      #expect(refused > 0)
      #expect(logins.withLock { $0 } == 40 - refused + 5)
    }
  }

  /// A user who has logged in before is logged in again, though another client guesses passwords for the same name.
  @Test func renewalIsNotHeldBackByGuesses() async throws {
    let firstGood = Mutex(1)
    try await withScriptedEtcd(
      script: { call in
        let number = call.headers["token"].flatMap { Int($0.dropFirst("ann.".count)) } ?? 0
        return firstGood.withLock { number >= $0 } ? .range : .failure(16, "etcdserver: invalid auth token")
      },
      logIn: { call, password in
        password == "good" ? nil : .failure(3, "etcdserver: authentication failed, invalid user ID or password")
      }
    ) { peer, gateway in
      let body: JSON = ["key": "YQ=="]
      expectStatus(200, try await gateway.http.post("/v3/kv/range", body, user: "ann:good"))
      expectStatus(429, try await guess(at: gateway) { "ann:\($0)" }.refusal)
      firstGood.withLock { $0 = 2 }
      expectStatus(200, try await gateway.http.post("/v3/kv/range", body, user: "ann:good"))
    }
  }

  /// However many strangers guess, from any address: the password of the gateway's own user is known.
  @Test func guessesAtItsNameDoNotLockTheGatewaysOwnUserOut() async throws {
    let isStale = Mutex(false)
    try await withScriptedEtcd(
      gateway: ["--user", "ann:good", "--max-login-failures", "1"],
      script: { call in
        if isStale.withLock({ $0 }) && call.headers["token"] == "ann.1" {
          return .failure(16, "etcdserver: invalid auth token")
        }
        return .range
      },
      logIn: { call, password in
        password == "good" ? nil : .failure(3, "etcdserver: authentication failed, invalid user ID or password")
      }
    ) { peer, gateway in
      let body: JSON = ["key": "YQ=="]
      expectStatus(429, try await guess(at: gateway) { "ann:\($0)" }.refusal)
      expectStatus(200, try await gateway.http.post("/v3/kv/range", body))
      isStale.withLock { $0 = true }
      _ = try await gateway.http.post("/v3/kv/range", body, user: "ann:again")
      expectStatus(200, try await gateway.http.post("/v3/kv/range", body))
    }
  }

  /// etcd's message about a user without a password is treated as that about any wrong password.
  @Test(arguments: EtcdVersion.allCases)
  func aUserWithoutAPasswordIsRefusedAsAnyOther(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--max-login-failures", "3"]) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "nopw", "options": ["no_password": true]])
      expectChallenge(try await gateway.get("nopw:guess"))
      expectChallenge(try await gateway.http.get("/keys/a", user: "nopw:guess"))
      let own = try await gateway.http.post("/v3/auth/authenticate", ["name": "nopw", "password": "guess"])
      expectError(own, 400, code: 3)
      #expect(own.message == "etcdserver: authentication failed, invalid user ID or password")
      var statuses: Set<Int> = []
      for number in 0..<40 where !statuses.contains(429) {
        statuses.insert(try await gateway.get("nopw:guess\(number)").status)
      }
      #expect(statuses == [401, 429])
    }
  }

  /// Tries wrong users and passwords, one after another, until the gateway holds one back: returns how many reached
  /// etcd, and the gateway's last answer.
  private func guess(
    at gateway: GatewayProcess, _ guess: (Int) -> String
  ) async throws -> (reached: Int, refusal: HTTPResponse) {
    var reached = 0
    while true {
      let answer = try await gateway.get(guess(reached))
      guard answer.status == 401, reached < 60 else { return (reached, answer) }
      expectChallenge(answer)
      reached += 1
    }
  }

  /// The status of a call from another loopback address than that of all other connections of the tests:
  /// 127.0.0.ADDRESS.
  private func status(of user: String, from address: Int, _ gateway: GatewayProcess) async throws -> String {
    try await withTemporaryDirectory { directory in
      let curl = try await ChildProcess.start(
        "/usr/bin/curl",
        [
          "-s", "--interface", "127.0.0.\(address)", "-u", user, "-d", #"{"key":"YQ=="}"#, "-o", "/dev/null", "-w",
          "%{http_code}", "--max-time", "60", gateway.url + "/v3/kv/range",
        ], output: "\(directory)/out", error: "\(directory)/err")
      _ = try await curl.exit()
      return curl.output
    }
  }
}
