import EtcdClient
import Testing
import TestSupport

/// The settings with which every typed call is tried: each release of etcd, with authentication and without.
struct ClientSetting: Sendable, CustomTestStringConvertible {
  let version: EtcdVersion
  let hasAuth: Bool

  static let all = EtcdVersion.allCases.flatMap { version in
    [false, true].map { ClientSetting(version: version, hasAuth: $0) }
  }

  var testDescription: String { "\(version)\(hasAuth ? " with authentication" : "")" }

  static let password = "secret"

  var credentials: EtcdClient.Credentials { hasAuth ? .basic(user: "root", password: Self.password) : .none }
}

/// Runs `body` with a client of a fresh etcd; with authentication, of root.
func withClient(
  _ setting: ClientSetting, _ arguments: [String] = [], _ body: (EtcdClient, EtcdProcess) async throws -> Void
) async throws {
  try await withEtcd(setting.version, arguments) { etcd in
    if setting.hasAuth { try await etcd.enableAuth(rootPassword: ClientSetting.password) }
    try await withClient(to: [etcd.url], setting.credentials) { try await body($0, etcd) }
  }
}

/// Runs `body` with a client, which is closed then.
func withClient(
  to endpoints: [String], _ credentials: EtcdClient.Credentials = .none,
  change: (inout EtcdClient.Configuration) -> Void = { _ in }, _ body: (EtcdClient) async throws -> Void
) async throws {
  var configuration = EtcdClient.Configuration(endpoints: endpoints)
  configuration.credentials = credentials
  change(&configuration)
  let client = try EtcdClient(configuration)
  defer { client.close() }
  try await body(client)
}

/// Runs `body` with a client of a peer that follows `script`.
func withScriptedClient(
  script: @escaping ScriptedPeer.Script, change: (inout EtcdClient.Configuration) -> Void = { _ in },
  _ body: (EtcdClient, ScriptedPeer) async throws -> Void
) async throws {
  let peer = try ScriptedPeer(script: script)
  try await withClient(to: [peer.endpoint], change: change) { try await body($0, peer) }
}

/// Expects an error of the client's of this kind.
///
/// - Returns: the error.
@discardableResult
func expectError<Value>(
  _ code: EtcdError.Code, sourceLocation: SourceLocation = #_sourceLocation,
  isolation: isolated (any Actor)? = #isolation,
  _ body: () async throws -> Value
) async -> EtcdError? {
  do {
    // A member whose cluster changes may report that it has lost its connection, before any other error of a call.
    let value = try await eventually("another answer than lost connections") { () -> Value? in
      do {
        return try await body()
      } catch let error as EtcdError where error.code == .timeoutDueToConnectionLost && code != error.code {
        return nil
      }
    }
    Issue.record("no \(code), but \(value)", sourceLocation: sourceLocation)
  } catch let error as EtcdError {
    #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    return error
  } catch {
    Issue.record("no \(code), but \(error)", sourceLocation: sourceLocation)
  }
  return nil
}
