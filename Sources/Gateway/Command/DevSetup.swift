import EtcdClient
import GrpcBridge

/// Waits until a new etcd serves, and turns its authentication on.
struct DevSetup {
  private static let patience = Duration.seconds(30)

  let endpoint: Endpoint

  /// - Returns: etcd's version; empty if etcd does not report it.
  /// - Throws: `EtcdChild.Failure` if etcd does not start, or already has another root password.
  func run(rootPassword: String?, child: EtcdChild) async throws -> String {
    var configuration = EtcdClient.Configuration(endpoints: [endpoint.description])
    configuration.dialTimeout = Self.patience
    let client = try EtcdClient(configuration)
    defer { client.close() }
    return try await withThrowingTaskGroup { group in
      defer { group.cancelAll() }
      group.addTask { try await prepare(client, rootPassword) }
      group.addTask {
        // If etcd has ended, waiting is of no use.
        while true {
          if let failure = child.ended { throw failure }
          try await Task.sleep(for: .milliseconds(50))
        }
      }
      return try await group.next() ?? ""
    }
  }

  private func prepare(_ client: EtcdClient, _ rootPassword: String?) async throws -> String {
    do {
      let isGuarded = try await isGuarded(client)
      let version = (try? await client.status().version) ?? ""
      if let rootPassword { try await (isGuarded ? logIn : enableAuth)(client, rootPassword) }
      return version
    } catch let error as EtcdError where error.code == .unavailable || error.code == .deadlineExceeded {
      throw EtcdChild.Failure(description: "etcd does not serve: \(error.message)")
    }
  }

  /// Whether authentication is on, once etcd serves.
  private func isGuarded(_ client: EtcdClient) async throws -> Bool {
    do {
      _ = try await client.get("health")
      return false
    } catch let error as EtcdError where error.code == .userEmpty {
      return true
    }
  }

  private func logIn(_ client: EtcdClient, _ password: String) async throws {
    do {
      _ = try await client.authenticate(user: "root", password: password)
    } catch let error as EtcdError where error.code == .authFailed {
      throw EtcdChild.Failure(description: "the data directory has authentication on, with another root password")
    }
  }

  private func enableAuth(_ client: EtcdClient, _ password: String) async throws {
    // A kept data directory may already have some of it.
    func unlessThere(_ step: () async throws -> ResponseHeader) async throws {
      do {
        _ = try await step()
      } catch let error as EtcdError where error.code == .userAlreadyExist || error.code == .roleAlreadyExist {}
    }
    do {
      try await unlessThere { try await client.addUser("root", password: password) }
      try await unlessThere { try await client.addRole("root") }
      try await client.grantRole("root", toUser: "root")
      try await client.enableAuth()
    } catch let error as EtcdError {
      throw EtcdChild.Failure(description: "authentication was not enabled: \(error.message)")
    }
  }
}
