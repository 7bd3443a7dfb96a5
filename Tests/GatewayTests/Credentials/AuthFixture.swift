import Foundation
import TestSupport
import Testing

/// An etcd with authentication on, and changes to it that do not go through the gateway.
struct AuthFixture: Sendable {
  static let rootPassword = "rootpw"
  static let root = "root:\(rootPassword)"

  let etcd: EtcdProcess

  /// Calls etcd itself, as root.
  func asRoot(_ path: String, _ body: JSON = [:]) async throws {
    try await withRootToken { try await etcd.call(path, body, token: $0) }
  }

  /// Calls etcd itself with a token of root's, again if that has expired before: then nothing was done.
  @discardableResult
  func withRootToken<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    try await eventually("call before root's token expires") {
      do {
        return try await body(try await etcd.token(user: "root", password: Self.rootPassword))
      } catch let error as TestSupportError where "\(error)".contains("invalid auth token") {
        return nil
      }
    }
  }

  /// Adds a user who may read and write every key.
  func addUser(_ name: String, password: String) async throws {
    try await asRoot("/v3/auth/user/add", ["name": .string(name), "password": .string(password)])
    try await asRoot("/v3/auth/user/grant", ["user": .string(name), "role": "everything"])
  }

  func addRole() async throws {
    try await asRoot("/v3/auth/role/add", ["name": "everything"])
    let permission: JSON = ["permType": "READWRITE", "key": .string("\0".base64), "range_end": .string("\0".base64)]
    try await asRoot("/v3/auth/role/grant", ["name": "everything", "perm": permission])
  }

  /// How often etcd was asked to log a user in, including the logins of the fixture itself.
  func logins() async throws -> Int { try await etcd.callsStarted(of: "Authenticate") }
}

/// Runs `body` with an etcd whose authentication is on, the user `ann` with the password `annpw`, and a gateway.
func withAuth(
  _ version: EtcdVersion, etcd etcdArguments: [String] = [], gateway arguments: [String] = [],
  body: (AuthFixture, GatewayProcess) async throws -> Void
) async throws {
  try await withEtcdAndGateway(version, etcd: etcdArguments, gateway: arguments) { etcd, gateway in
    try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
    let fixture = AuthFixture(etcd: etcd)
    try await fixture.addRole()
    try await fixture.addUser("ann", password: "annpw")
    try await body(fixture, gateway)
  }
}

extension GatewayProcess {
  /// Reads one key.
  func get(_ user: String? = nil, headers: [(String, String)] = []) async throws -> HTTPResponse {
    try await http.post("/v3/kv/range", ["key": "YQ=="], user: user, headers: headers)
  }
}
