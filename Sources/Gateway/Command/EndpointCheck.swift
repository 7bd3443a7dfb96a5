import EtcdClient
import GrpcBridge
import HTTPServer

/// Checks one endpoint as a client meets it, from the connection up.
struct EndpointCheck {
  /// One result of the check.
  struct Finding: CustomStringConvertible {
    enum Verdict: String {
      case good = "ok"
      /// Not known, or not relevant.
      case none = "-"
      case bad = "FAIL"
    }

    let verdict: Verdict
    let topic: String
    let text: String

    var description: String { "\(pad(verdict.rawValue, 6))\(pad(topic, 9))\(text)" }

    private func pad(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(1, width - text.utf8.count))
    }
  }

  private let endpoint: Endpoint
  private let tls: TLSConfiguration?
  private let identity: BasicCredentials?
  private let patience: Duration
  private var findings: [Finding] = []
  /// The ID of the cluster, once it is known.
  private(set) var cluster: UInt64?

  init(_ endpoint: Endpoint, tls: TLSConfiguration?, identity: BasicCredentials?, patience: Duration) {
    self.endpoint = endpoint
    self.tls = tls
    self.identity = identity
    self.patience = patience
  }

  mutating func run() async -> [Finding] {
    guard let isGuarded = await reach() else { return findings }
    await look()
    await logIn(isGuarded)
    return findings
  }

  private mutating func note(_ verdict: Finding.Verdict, _ topic: String, _ text: String) {
    findings.append(Finding(verdict: verdict, topic: topic, text: text))
  }

  /// Runs `body` with a client of its own.
  private func withClient<Value>(
    _ credentials: EtcdClient.Credentials, _ body: (EtcdClient) async throws -> Value
  ) async throws -> Value {
    var configuration = EtcdClient.Configuration(endpoints: [endpoint.description])
    configuration.credentials = credentials
    configuration.tls = tls
    configuration.dialTimeout = patience
    // The reason for having no connection is known only after a full attempt.
    configuration.requestTimeout = patience * 2
    configuration.waitsForReady = false
    // Not closed: that would make one of Swift's few threads wait for a name resolution.
    return try await body(EtcdClient(configuration))
  }

  /// Makes a call that each member answers by itself.
  ///
  /// - Returns: whether authentication is on; nil if there is no answer.
  private mutating func reach() async -> Bool? {
    let start = ContinuousClock.now
    var isGuarded = false
    do {
      let header = try await withClient(.none) { try await $0.get("health", GetOptions(serializable: true)).header }
      cluster = header.clusterID
    } catch let error as EtcdError where error.isLackOfRights {
      isGuarded = true
    } catch let error as EtcdError where error.code == .notSupportedForLearner {
      note(.bad, "leader", "this is a learner, which serves no clients yet")
    } catch {
      note(.bad, "reached", text(of: error))
      return nil
    }
    note(.good, "reached", "gRPC answers, \((ContinuousClock.now - start).milliseconds) ms with the connection")
    return isGuarded
  }

  /// Checks what is visible without gRPC: the TLS session, and the clock.
  private mutating func look() async {
    let glance: ServerInspection
    do {
      glance = try await ServerInspection.take(at: endpoint, tls: tls, patience: patience)
    } catch {
      return note(.none, "clock", "unknown: \(error)")
    }
    if let session = glance.tls {
      note(.good, "TLS", session)
    } else {
      note(.none, "TLS", "none")
    }
    guard let offset = glance.clockOffset else { return note(.none, "clock", "not reported over HTTP") }
    switch offset {
    case -2...2: note(.good, "clock", "the same as here, within 2 s")
    // Leases and tokens expire by etcd's clock, certificates by both.
    default: note(.bad, "clock", "\(abs(offset)) s \(offset > 0 ? "ahead of" : "behind") ours")
    }
  }

  private mutating func logIn(_ isGuarded: Bool) async {
    guard isGuarded else {
      note(.good, "auth", identity == nil ? "off" : "off: the user and password are not needed")
      return await ask(.none)
    }
    guard let identity else {
      note(.none, "auth", "on; there is no --user to log in with")
      return await ask(.none)
    }
    do {
      _ = try await withClient(.none) {
        try await $0.authenticate(user: identity.user, password: identity.password)
      }
      note(.good, "auth", "on; \(identity.user) can log in")
      await ask(.basic(user: identity.user, password: identity.password))
    } catch {
      note(.bad, "auth", "on; \(identity.user) cannot log in: \(text(of: error))")
      await ask(.none)
    }
  }

  /// Makes a read that needs a quorum, and a call for the member's status.
  private mutating func ask(_ credentials: EtcdClient.Credentials) async {
    do {
      _ = try await withClient(credentials) { try await $0.get("health") }
      note(.good, "quorum", "reads are linearizable")
    } catch let error as EtcdError where error.isLackOfRights {
      // etcd checks permissions after the read has reached a quorum.
      note(.good, "quorum", "reads are linearizable")
    } catch {
      note(.bad, "quorum", text(of: error))
    }
    do {
      let status = try await withClient(credentials) { try await $0.status() }
      cluster = status.header.clusterID
      note(.good, "version", "\(status.version), a database of \((max(0, status.databaseSize) &+ 1023) / 1024) KiB")
      if status.isLearner {
        note(.bad, "leader", "this is a learner")
      } else if let leader = status.leader {
        note(.good, "leader", status.isLeader ? "this member, term \(status.raftTerm)" : "\(leader)")
      } else {
        note(.bad, "leader", "none")
      }
      for error in status.errors { note(.bad, "alarm", error) }
    } catch let error as EtcdError where error.isLackOfRights {
      note(.none, "version", "unknown: \(error.message)")
    } catch {
      note(.bad, "version", text(of: error))
    }
  }

  private func text(of error: any Error) -> String { (error as? EtcdError)?.message ?? "\(error)" }
}

extension EtcdError {
  /// Whether etcd requires another user, or any user at all: only with authentication on.
  fileprivate var isLackOfRights: Bool { code == .userEmpty || code == .permissionDenied }
}
