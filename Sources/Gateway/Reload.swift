import GrpcBridge
import Logging
import TLS

/// How a gateway reads its settings again while it serves.
struct Renewal: Sendable {
  /// The settings of the file at the start, by name.
  var file: [String: String] = [:]
  /// How often the cluster is asked for its members, in milliseconds.
  var syncInterval: UInt64?
  /// Reads all settings; throws an error of one line if any is invalid. It applies nothing.
  var read: (@Sendable () throws -> RenewableSettings)?
}

/// The settings that can change while a gateway serves.
struct RenewableSettings: Sendable {
  var endpoints: [Endpoint]
  /// The user of requests without credentials.
  var identity: BasicCredentials?
  var tls: RenewableTLSContext?
  var upstreamTLS: ClientTLS?
  /// Further header lines of each export of spans; nil if none are exported.
  var exportHeaders: String?
  /// The settings that come from the file, by name.
  var file: [String: String]

  /// The settings that take effect with a reload.
  static let names: Set<String> = [
    "endpoints", "endpoints-file", "user", "username", "password", "password-file", "tls-cert", "tls-key",
    "tls-client-ca", "listen-tls-min-version", "otlp-headers-file",
  ]
  /// The settings that do so if the gateway had TLS to etcd, and still has.
  static let upstreamNames: Set<String> = [
    "cacert", "cert", "key", "insecure-skip-tls-verify", "tls-min-version", "allow-client-cn",
  ]
}

/// The changes of a reload, for the log.
struct SettingsChanges {
  /// The names of the settings that have changed.
  private(set) var taken: [String]
  /// The names of those that differ from the start, and need a new one.
  private(set) var pending: [String]
  private var endpoints: [Endpoint]?
  /// The certificates that are used from now on, by their purpose.
  var certificates: [String: String] = [:]

  /// - Parameters:
  ///   - start: the settings of the file at the start.
  ///   - hasUpstreamTLS: whether there is TLS to etcd, before and after.
  init(
    from old: RenewableSettings, to new: RenewableSettings, since start: [String: String], hasUpstreamTLS: Bool
  ) {
    let names =
      hasUpstreamTLS ? RenewableSettings.names.union(RenewableSettings.upstreamNames) : RenewableSettings.names
    taken = Self.differences(old.file, new.file).filter(names.contains)
    pending = Self.differences(start, new.file).filter { !names.contains($0) }
    if new.endpoints != old.endpoints {
      endpoints = new.endpoints
      // Otherwise the content of the endpoints' file has changed.
      if !taken.contains(where: { $0.hasPrefix("endpoints") }) { taken.append("endpoints-file") }
    }
    if new.identity != old.identity && !taken.contains(where: { $0.hasPrefix("user") || $0.hasPrefix("password") }) {
      taken.append("password-file")
    }
    if new.exportHeaders != old.exportHeaders && !taken.contains("otlp-headers-file") {
      taken.append("otlp-headers-file")
    }
  }

  private static func differences(_ one: [String: String], _ other: [String: String]) -> [String] {
    Set(one.keys).union(other.keys).filter { one[$0] != other[$0] }.sorted()
  }

  /// Logs everything in one line.
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
