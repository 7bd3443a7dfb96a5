import ArgumentParser
import Glibc
import GrpcBridge
import HTTPServer
import Logging
import ServiceLifecycle
import TLS
import UnixSignals

/// `etcd-rest serve`.
struct Serve: ServingCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve an etcd over HTTP and JSON.",
    discussion: """
      Every flag can also be set in the environment, --dial-timeout as ETCD_REST_DIAL_TIMEOUT, and in a file \
      (--config), as dial-timeout. Times are written as 30s, 500ms, 5m or 1h.
      """)

  @OptionGroup(title: "etcd") var endpoints: EndpointOptions
  @OptionGroup(title: "etcd") var sync: SyncOptions
  @OptionGroup(title: "Where to listen") var listener: ListenerOptions
  @OptionGroup(title: "Settings") var file: ConfigurationOptions
  @OptionGroup(title: "Access") var identity: IdentityOptions
  @OptionGroup(title: "Access") var access: AccessOptions
  @OptionGroup(title: "TLS to etcd") var upstreamTLS: UpstreamTLSOptions
  @OptionGroup(title: "Times at etcd") var members: MemberOptions
  @OptionGroup(title: "Requests") var requests: RequestOptions
  @OptionGroup(title: "Streams and watches") var streams: StreamOptions
  @OptionGroup(title: "Connections of clients") var connections: ConnectionOptions
  @OptionGroup(title: "Logins") var logins: LoginOptions
  @OptionGroup(title: "Web pages") var pages: PageOptions
  @OptionGroup(title: "The process") var process: ProcessOptions
  @OptionGroup(title: "Logs") var logs: LogOptions
  @OptionGroup(title: "Traces") var tracing: TracingOptions

  func run() async throws {
    let environment = try file.environment(of: Self.self)
    let configuration = try settings(environment)
    let renewal = Renewal(file: fileSettings(environment), syncInterval: try sync.interval(environment)) {
      try renewableSettings(before: configuration, environment.file)
    }
    let gateway = try GatewayService(
      configuration, renewal: renewal, manager: ServiceManager.ofEnvironment(logger: configuration.logger),
      reloadsOnHangup: true)
    try await runServices([gateway], logger: configuration.logger)
  }

  /// Reads the flags, the environment and the file.
  ///
  /// - Parameter before: the result at the start, if this is a reload.
  /// - Throws: `ValidationError` with one line that names the fault.
  func settings(_ environment: CommandEnvironment, before: ServeConfiguration? = nil) throws -> ServeConfiguration {
    // Otherwise only the next start would detect a mistake.
    _ = try sync.interval(environment)
    return try ServeConfiguration(
      self, endpoints: endpoints.source(environment).read(), environment, before: before)
  }

  /// Reads everything again that a reload concerns. All settings must be valid, including those that need a new start.
  ///
  /// - Throws: `ValidationError` or `TLSError` with one line that names the fault.
  private func renewableSettings(
    before: ServeConfiguration, _ fileBefore: ConfigurationFile?
  ) throws -> RenewableSettings {
    let environment = try file.environment(of: Self.self)
    if let file = environment.file, fileBefore?.settings["endpoints"] != nil,
      file.settings["endpoints"] == nil && file.settings["endpoints-file"] == nil
    {
      // Then the default is not meant.
      throw ValidationError("--config: \(file.path): the setting 'endpoints' was removed")
    }
    let configuration = try settings(environment, before: before)
    return RenewableSettings(
      endpoints: configuration.settings.endpoints, identity: configuration.settings.identity,
      tls: try configuration.tls.map { try RenewableTLSContext(serving: $0, logger: before.logger) },
      upstreamTLS: configuration.settings.bridge.channel.tls,
      exportHeaders: configuration.settings.tracing?.headers, file: fileSettings(environment))
  }

  /// The settings of the file that are neither on the command line nor in the environment.
  private func fileSettings(_ environment: CommandEnvironment) -> [String: String] {
    guard let file = environment.file else { return [:] }
    let given = SettingsOfArguments(Array(CommandLine.arguments.dropFirst()), of: Self.self)
    return file.settings.filter { given[$0.key] == nil && environment.file(for: $0.key) != nil }.mapValues(\.text)
  }
}

/// The flag by which the cluster's own list of members replaces the endpoints.
struct SyncOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      How often to ask the cluster for its members, which then replace the endpoints; if etcd's authentication is on, \
      this may need --user. (default: never)
      """, valueName: "time"), transform: TimeSpan.read)
  var autoSyncInterval: TimeSpan?

  /// How often to ask for the members, in milliseconds; nil for never.
  ///
  /// - Throws: `ValidationError` with one line that names the fault.
  func interval(_ environment: CommandEnvironment) throws -> UInt64? {
    let never = TimeSpan(milliseconds: 0)
    let span = try environment.value(autoSyncInterval, "auto-sync-interval", default: never)
    guard span.milliseconds != 0 else { return nil }
    guard span.milliseconds >= 1000 else { throw ValidationError("--auto-sync-interval must be at least 1s, or 0") }
    return span.milliseconds
  }
}

extension GatewayService {
  /// - Parameter advice: text to print after the addresses at which the gateway serves.
  convenience init(
    _ configuration: ServeConfiguration, renewal: Renewal = .init(), manager: ServiceManager? = nil,
    reloadsOnHangup: Bool,
    advice: ([ListenAddress]) -> String = { _ in "" }
  ) throws {
    prepareProcess()
    try self.init(
      listen: configuration.listen, reusesPort: configuration.reusesPort, tls: configuration.tls,
      shards: configuration.shards, settings: configuration.settings, renewal: renewal, manager: manager,
      logins: configuration.logins,
      patience: configuration.patience, shutdownDelay: configuration.shutdownDelay, logger: configuration.logger,
      reloadsOnHangup: reloadsOnHangup
    ) { addresses in
      let places = addresses.map(\.description).joined(separator: ", ")
      return "etcd-rest \(EtcdRest.version) is serving on \(places)" + advice(addresses)
    }
  }
}

/// Runs services until one fails or the process has to stop; stops them in reverse order.
func runServices(
  _ services: [any Service], stoppedBy signals: [UnixSignal] = [.sigterm, .sigint], logger: Logger
) async throws {
  var quiet = logger
  quiet.logLevel = max(logger.logLevel, .warning)
  try await ServiceGroup(
    configuration: ServiceGroupConfiguration(
      services: services, gracefulShutdownSignals: signals, logger: quiet)
  ).run()
}

/// Raises the limit of open descriptors as far as possible, makes writes to a closed pipe fail instead of killing the
/// process, and opens missing standard descriptors: otherwise the log would be written to the first file that is
/// opened.
private func prepareProcess() {
  signal(SIGPIPE, SIG_IGN)
  var null: Int32
  repeat { null = open("/dev/null", O_RDWR) } while (STDIN_FILENO...STDERR_FILENO).contains(null)
  close(null)
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
