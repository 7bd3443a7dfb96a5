import ArgumentParser
import GrpcBridge
import Logging

/// The flags for TLS to etcd, with etcdctl's names.
struct UpstreamTLSOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A PEM file of the authorities (CAs) of etcd's certificates. (default: the system's)",
      valueName: "file"), completion: .file())
  var cacert: String?

  @Option(
    help: ArgumentHelp("A PEM file of the client certificate for etcd. (default: none)", valueName: "file"),
    completion: .file())
  var cert: String?

  @Option(
    help: ArgumentHelp(
      "The PEM file of its private key, without a passphrase. (default: as --cert)", valueName: "file"),
    completion: .file())
  var key: String?

  @Flag(help: "Do not verify etcd's certificates: an attacker on the network can read and change everything.")
  var insecureSkipTlsVerify = false

  @Option(
    help: ArgumentHelp(
      "The name or address that etcd's certificates must have. (default: that of the endpoint)", valueName: "name"))
  var serverName: String?

  @Option(
    help: ArgumentHelp("The minimum version of TLS to etcd: 1.2 or 1.3. (default: 1.2)", valueName: "version"),
    completion: .list(["1.2", "1.3"]))
  var tlsMinVersion: MinimumTLSVersion?

  @Flag(
    help: """
      Accept a --cert with a common name, which etcd may take for the user of calls without a token.
      """)
  var allowClientCn = false
}

/// A version of TLS on the command line.
struct MinimumTLSVersion: ExpressibleByArgument, Sendable {
  let version: TLSConfiguration.Version

  init(_ version: TLSConfiguration.Version) { self.version = version }

  init?(argument: String) {
    guard let version = TLSConfiguration.Version(rawValue: argument) else { return nil }
    self.version = version
  }
}

extension TLSConfiguration {
  /// The settings from the flags and the environment; nil if there are none.
  ///
  /// - Throws: `ValidationError` with one line that names the flag and its fault.
  init?(_ options: UpstreamTLSOptions, _ environment: CommandEnvironment) throws {
    self.init()
    authorityFile = options.cacert ?? environment["cacert"]
    certificateFile = options.cert ?? environment["cert"]
    keyFile = options.key ?? environment["key"]
    serverName = options.serverName ?? environment["server-name"]
    verifiesServer = !(try environment.flag(options.insecureSkipTlsVerify, "insecure-skip-tls-verify"))
    minimumVersion = try environment.value(options.tlsMinVersion, "tls-min-version", default: MinimumTLSVersion(.v1_2))
      .version
    allowsCommonName = try environment.flag(options.allowClientCn, "allow-client-cn")
    guard keyFile == nil || certificateFile != nil else { throw ValidationError("--key needs --cert") }
    let texts = [("cacert", authorityFile), ("cert", certificateFile), ("key", keyFile), ("server-name", serverName)]
    for (flag, text) in texts where text?.isEmpty == true { throw ValidationError("--\(flag) must not be empty") }
    if self == TLSConfiguration() { return nil }
  }
}

extension ClientTLS {
  /// Reads the files that the flags name.
  ///
  /// - Throws: `ValidationError` with one line that names the file and its fault.
  static func make(_ configuration: TLSConfiguration, logger: Logger) throws -> ClientTLS {
    do {
      return try ClientTLS(configuration, logger: logger)
    } catch {
      let way = error.kind == .unwanted ? "; use one without, or --allow-client-cn" : ""
      throw ValidationError("TLS to etcd: \(error)\(way)")
    }
  }
}
