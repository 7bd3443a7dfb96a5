import ArgumentParser
import Configuration
import Glibc
import GrpcBridge
import HTTPServer
import Logging
import TLS

/// A command that serves, with its flags, each of which may also be set in the environment.
///
/// The groups are listed in the commands themselves: each level of nested groups quadruples the time that a debug build
/// of the parser needs to check them, at each start.
protocol ServingCommand: AsyncParsableCommand {
  var listener: ListenerOptions { get }
  var identity: IdentityOptions { get }
  var access: AccessOptions { get }
  var upstreamTLS: UpstreamTLSOptions { get }
  var members: MemberOptions { get }
  var requests: RequestOptions { get }
  var streams: StreamOptions { get }
  var connections: ConnectionOptions { get }
  var logins: LoginOptions { get }
  var pages: PageOptions { get }
  var process: ProcessOptions { get }
  var logs: LogOptions { get }
  var tracing: TracingOptions { get }
}

/// The flags for limits of requests.
struct RequestOptions: ParsableArguments {
  @Option(help: "The largest request body, in bytes. (default: 2883584)")
  var maxRequestBytes: Int?

  @Option(help: "The largest value of a key that /keys accepts, in bytes. (default: 1572864, etcd's own default)")
  var maxValueBytes: Int?

  @Option(
    help: """
      How many comparisons and operations a transaction of /txn may have, including those of nested transactions; etcd \
      has a limit of its own. (default: 10000)
      """)
  var maxTxnOps: Int?

  @Option(help: "The largest request line and headers together, in bytes, up to 24576. (default: 16384)")
  var maxHeaderBytes: Int?

  @Option(
    help: ArgumentHelp(
      """
      How many bytes may be kept for all clients together: unfinished request bodies, answers that wait to be read, \
      WebSocket messages, watches; also as 512M or 1G. (default: a quarter of the memory of the machine or control \
      group, from 64M to 1G)
      """, valueName: "bytes"), transform: ByteCount.read)
  var maxMemory: ByteCount?
}

/// The flags for limits of streams and watches.
struct StreamOptions: ParsableArguments {
  @Option(help: "How many streams may be open, WebSockets included. (default: 20000)")
  var maxStreams: Int?

  @Option(help: "How many more WebSockets may be open that have not sent a valid request yet. (default: 1000)")
  var maxNewWebsockets: Int?

  @Option(help: "How many bytes of a stream may wait for its client before etcd is not read. (default: 262144)")
  var streamBacklog: Int?

  @Option(
    help: ArgumentHelp(
      "When to end a stream whose client does not read what was sent. (default: 1m)",
      valueName: "time"), transform: TimeSpan.read)
  var stallTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      """
      How often to ask etcd for its revision, so that a watch without events survives compactions. (default: 1m)
      """, valueName: "time"), transform: TimeSpan.read)
  var watchProgressInterval: TimeSpan?

  @Option(help: "How many watches a client may have on one stream. (default: 1000)")
  var maxWatches: Int?

  @Option(
    help: """
      How many bytes the watches of a client may take on one stream: their keys, and 512 for each. (default: 4194304)
      """)
  var maxWatchBytes: Int?
}

/// The flags for time limits of etcd's members.
struct MemberOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("How long to wait for a connection to etcd before 503. (default: 2s)", valueName: "time"),
    transform: TimeSpan.read)
  var dialTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      """
      How long a member that owes answers may be silent before it gets a PING; after as long again calls go to other \
      members, and so do reads that wait at this one. (default: 1s)
      """, valueName: "time"), transform: TimeSpan.read)
  var suspectAfter: TimeSpan?

  @Option(
    help: ArgumentHelp(
      """
      How long a member that has streams and owes no answer may be silent before it gets a PING; at least 6s, as etcd \
      closes connections with PINGs more often than every 5s. (default: 10s)
      """, valueName: "time"), transform: TimeSpan.read)
  var keepaliveTime: TimeSpan?

  @Option(
    help: ArgumentHelp(
      """
      How long the answer to a PING may take before the connection is closed: writes that wait there then get 503, and \
      may have been executed. (default: 5s)
      """, valueName: "time"), transform: TimeSpan.read)
  var keepaliveTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "How long a call may take if its client sets no time. Lock and campaign have no limit. (default: 30s)",
      valueName: "time"), transform: TimeSpan.read)
  var requestTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "The longest time that Grpc-Timeout or Request-Timeout can set. (default: 10m)", valueName: "time"),
    transform: TimeSpan.read)
  var maxRequestTimeout: TimeSpan?
}

/// The flags for limits of logins at etcd.
struct LoginOptions: ParsableArguments {
  @Option(help: "How many logins etcd may execute at once; each costs it 30 to 60 ms of a core. (default: 4)")
  var maxLogins: Int?

  @Option(
    help: """
      How many failed logins a user name or a client address may have before it gets 429; the count falls by one a \
      second. (default: 10)
      """)
  var maxLoginFailures: Int?

  @Option(help: "How many users' tokens to keep. (default: 10000)")
  var maxTokens: Int?
}

/// The flags for web pages.
struct PageOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The origins whose pages may read answers and open WebSockets, besides the gateway's own, as "
        + "https://HOST[:PORT]; several are separated by commas. * allows every origin, but without Basic credentials. "
        + "(default: none)",
      valueName: "origin,..."))
  var cors: AllowedOrigins?

  @Option(
    help: ArgumentHelp(
      "The page /docs: on, off, or the folder its files are in. (default: on, from ../share/etcd-rest/docs beside the "
        + "program)", valueName: "on|off|dir"))
  var docs: DocsOption?
}

/// The flags for the process.
struct ProcessOptions: ParsableArguments {
  @Option(help: "How many threads serve, each with its own connections to etcd. (default: one a core)")
  var shards: Int?

  @Option(
    help: """
      How many reads of single keys, of one user, may go to etcd in one transaction, up to etcd's --max-txn-ops; with \
      1 each is a call of its own. (default: 64)
      """)
  var maxBatch: Int?

  @Option(
    help: ArgumentHelp(
      "How long requests under way may take to finish when the gateway stops. (default: 10s)",
      valueName: "time"), transform: TimeSpan.read)
  var shutdownTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "How long to go on serving before that, with /readyz 503 and each answer the last of its connection, so that "
        + "load balancers send requests elsewhere. (default: 0s)", valueName: "time"), transform: TimeSpan.read)
  var shutdownDelay: TimeSpan?
}

/// The settings of a command that serves, from its flags and the environment.
struct ServeConfiguration {
  let listen: [ListenAddress]
  let reusesPort: Bool
  let tls: TLSSettings?
  let shards: Int
  var settings: GatewaySettings
  let logins: Authenticator.Configuration
  let patience: UInt64
  let shutdownDelay: UInt64
  let logger: Logger

  /// - Parameter before: the settings at the start, if this is a reload.
  /// - Throws: `ValidationError` with one line that names the flag and the values that it accepts.
  init(
    _ command: some ServingCommand, endpoints: [Endpoint], _ environment: CommandEnvironment,
    before: ServeConfiguration? = nil
  ) throws {
    func number(_ given: Int?, _ flag: String, default standard: Int, in range: ClosedRange<Int>) throws -> Int {
      try environment.number(given, flag, default: standard, in: range)
    }
    func time(
      _ given: TimeSpan?, _ flag: String, default seconds: UInt64, atLeast least: UInt64 = 0
    ) throws -> UInt64 {
      try environment.time(given, flag, default: seconds, atLeast: least)
    }

    let admin = try command.listener.adminAddresses(environment)
    listen = try command.listener.addresses(environment) + admin
    reusesPort = try environment.flag(command.listener.reusePort, "reuse-port")
    tls = try command.listener.tls(for: listen, environment)
    shards = try number(
      command.process.shards, "shards", default: max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), in: 1...256)
    var settings = GatewaySettings(endpoints: endpoints)
    settings.http.requestBytes = try number(
      command.requests.maxRequestBytes, "max-request-bytes", default: settings.http.requestBytes, in: 1...(1 << 30))
    settings.maxValueBytes = try number(
      command.requests.maxValueBytes, "max-value-bytes", default: settings.maxValueBytes, in: 1...(1 << 30))
    settings.maxTransactionOperations = try number(
      command.requests.maxTxnOps, "max-txn-ops", default: settings.maxTransactionOperations, in: 1...1_000_000)
    settings.http.headerBytes = try number(
      command.requests.maxHeaderBytes, "max-header-bytes", default: settings.http.headerBytes, in: 256...(24 << 10))
    settings.hasAdminListener = !admin.isEmpty
    settings.http.proxies = try command.access.proxies(environment, listen: listen)
    try command.connections.apply(to: &settings.http, shards: shards, environment)
    settings.memoryBytes = try environment.value(
      command.requests.maxMemory, "max-memory", default: ByteCount(MachineMemory.budget)
    ).bytes
    guard settings.memoryBytes >= 1 << 20 else { throw ValidationError("--max-memory must be at least 1M") }
    settings.streams = StreamLimits(
      most: try number(command.streams.maxStreams, "max-streams", default: 20_000, in: 1...1_000_000),
      maxNew: try number(command.streams.maxNewWebsockets, "max-new-websockets", default: 1000, in: 1...1_000_000),
      backlog: try number(command.streams.streamBacklog, "stream-backlog", default: 256 << 10, in: 1...(1 << 30)),
      stallTimeout: try time(command.streams.stallTimeout, "stall-timeout", default: 60))
    settings.http.tls = TLSTerminations.Limits(
      handshake: try time(command.listener.handshakeTimeout, "handshake-timeout", default: 10),
      stall: settings.streams.stallTimeout)
    settings.bridge.channel.dialTimeout = try time(command.members.dialTimeout, "dial-timeout", default: 2)
    // A client is better off with an answer: it can decide whether to wait.
    settings.bridge.channel.waitsForReady = false
    settings.bridge.channel.keepaliveTime = try time(
      command.members.keepaliveTime, "keepalive-time", default: 10, atLeast: 6)
    settings.bridge.channel.keepaliveTimeout = try time(
      command.members.keepaliveTimeout, "keepalive-timeout", default: 5)
    settings.bridge.channel.suspectAfter = try time(command.members.suspectAfter, "suspect-after", default: 1)
    settings.timeLimits = TimeLimits(
      standard: try time(command.members.requestTimeout, "request-timeout", default: 30),
      most: try time(command.members.maxRequestTimeout, "max-request-timeout", default: 600))
    settings.bridge.watchProgressInterval = try time(
      command.streams.watchProgressInterval, "watch-progress-interval", default: 60, atLeast: 1)
    settings.bridge.maxBatch = try number(command.process.maxBatch, "max-batch", default: 64, in: 1...1000)
    settings.bridge.maxWatchBytes = try number(
      command.streams.maxWatchBytes, "max-watch-bytes", default: 4 << 20, in: (64 << 10)...(1 << 30))
    settings.bridge.maxWatches = try number(command.streams.maxWatches, "max-watches", default: 1000, in: 1...1_000_000)
    settings.origins = try environment.value(command.pages.cors, "cors", default: AllowedOrigins())
    settings.hosts = try command.access.hosts(environment)
    settings.identity = try command.identity.credentials(environment, before: before?.settings.identity)

    let logger = try command.logs.logger(environment, before: before?.logger)
    self.logger = logger
    settings.plainAddress = listen.first { $0.isOpenInPlaintext(settings.http.proxies) }?.description
    settings.accessLog = try command.logs.accessLog(environment)
    settings.tracing = try command.tracing.settings(environment, logger: logger)
    let docs = try environment.value(command.pages.docs, "docs", default: .on)
    settings.docs = before == nil ? try docs.page(logger: logger) : nil
    let upstreamTLS = try TLSConfiguration(command.upstreamTLS, environment)
    settings.bridge.channel.tls = try upstreamTLS.map { try ClientTLS.make($0, logger: logger) }

    var logins = Authenticator.Configuration()
    logins.maxConcurrentLogins = try number(command.logins.maxLogins, "max-logins", default: 4, in: 1...1000)
    logins.maxFailures = try number(
      command.logins.maxLoginFailures, "max-login-failures", default: 10, in: 1...1_000_000)
    logins.maxTokens = try number(command.logins.maxTokens, "max-tokens", default: 10_000, in: 1...10_000_000)
    settings.bridge.maxTokens = logins.maxTokens
    self.logins = logins
    self.settings = settings
    shutdownDelay = try environment.value(
      command.process.shutdownDelay, "shutdown-delay", default: TimeSpan(milliseconds: 0)
    ).milliseconds
    patience = try time(command.process.shutdownTimeout, "shutdown-timeout", default: 10)
    // Warnings were given at the start.
    if before == nil { CommandEnvironment.warnOfUnknownVariables(logger) }
    if before.map({ $0.settings.identity != settings.identity }) ?? true { warnOfExposure(upstreamTLS) }
  }
}
