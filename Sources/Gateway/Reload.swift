import GrpcBridge
import Logging
import TLS

/// How a gateway reads its settings again while it serves.
struct Renewal: Sendable {
  /// The settings of the file that it began with, by name.
  var file: [String: String] = [:]
  /// How often the cluster is asked for its members, in milliseconds.
  var syncInterval: UInt64?
  /// Reads all there is, and throws an error of one line if any of it is invalid. Nothing takes effect by that.
  var read: (@Sendable () throws -> RenewableSettings)?
}

/// What can change while a gateway serves.
struct RenewableSettings: Sendable {
  var endpoints: [Endpoint]
  /// Who makes the requests that come without credentials.
  var identity: BasicCredentials?
  var tls: RenewableTLSContext?
  var upstreamTLS: ClientTLS?
  /// The settings that the file of settings has a say in, by name.
  var file: [String: String]

  /// Those that take effect with a reload.
  static let names: Set<String> = [
    "endpoints", "endpoints-file", "user", "username", "password", "password-file", "tls-cert", "tls-key",
    "tls-client-ca", "listen-tls-min-version",
  ]
  /// Those that do so if the gateway had TLS to etcd, and still has.
  static let upstreamNames: Set<String> = [
    "cacert", "cert", "key", "insecure-skip-tls-verify", "tls-min-version", "allow-client-cn",
  ]
}

/// What a reload has changed, for the log.
struct SettingsChanges {
  /// The names of the settings that are others than before.
  private(set) var taken: [String]
  /// Those that are others than at the start, and take a new one.
  private(set) var pending: [String]
  private var endpoints: [Endpoint]?
  /// The certificates that are in use from now on, by what they are for.
  var certificates: [String: String] = [:]

  /// - Parameters:
  ///   - start: the settings of the file that the gateway began with.
  ///   - hasUpstreamTLS: whether it has TLS to etcd, before and after.
  init(
    from old: RenewableSettings, to new: RenewableSettings, since start: [String: String], hasUpstreamTLS: Bool
  ) {
    let names =
      hasUpstreamTLS ? RenewableSettings.names.union(RenewableSettings.upstreamNames) : RenewableSettings.names
    taken = Self.differences(old.file, new.file).filter(names.contains)
    pending = Self.differences(start, new.file).filter { !names.contains($0) }
    if new.endpoints != old.endpoints {
      endpoints = new.endpoints
      // Else it is the file's contents that have changed.
      if !taken.contains(where: { $0.hasPrefix("endpoints") }) { taken.append("endpoints-file") }
    }
    if new.identity != old.identity && !taken.contains(where: { $0.hasPrefix("user") || $0.hasPrefix("password") }) {
      taken.append("password-file")
    }
  }

  private static func differences(_ one: [String: String], _ other: [String: String]) -> [String] {
    Set(one.keys).union(other.keys).filter { one[$0] != other[$0] }.sorted()
  }

  /// Logs all of it in one line.
  func log(to logger: Logger) {
    var metadata: Logger.Metadata = certificates.mapValues { "\($0)" }
    if !taken.isEmpty { metadata["changed"] = "\(taken.joined(separator: ", "))" }
    if let endpoints { metadata["endpoints"] = "\(endpoints.map(\.description).joined(separator: ","))" }
    guard pending.isEmpty else {
      metadata["settings"] = "\(pending.joined(separator: ", "))"
      return logger.warning(
        "reloaded; these settings take effect after a restart", metadata: metadata)
    }
    logger.notice(metadata.isEmpty ? "reloaded: nothing has changed" : "reloaded", metadata: metadata)
  }
}
