import ArgumentParser
import Configuration
import Glibc
import GrpcBridge
import Logging
import TLS

/// A command that serves: its flags, each of which may also stand in the environment.
///
/// The groups stand in the commands themselves: each group within another one quadruples the time that a debug build of
/// the parser takes to check what is in it, at each start.
protocol ServingCommand: AsyncParsableCommand {
  var listener: ListenerOptions { get }
  var identity: IdentityOptions { get }
  var access: AccessOptions { get }
  var connections: ConnectionOptions { get }
  var upstreamTLS: UpstreamTLSOptions { get }
  var options: ServeOptions { get }
  var logs: LogOptions { get }
}

/// The flags that say how to serve and are in no other group.
struct ServeOptions: ParsableArguments {
  @Option(
    help: """
      How many reads of single keys, of the same user, may go to etcd in one transaction, up to etcd's --max-txn-ops; \
      with 1 each is a call of its own. (default: 64)
      """)
  var maxBatch: Int?

  @Option(help: "How many threads serve, each with its own connection to etcd. (default: one a core)")
  var shards: Int?

  @Option(help: "The largest request body, in bytes. (default: 2883584)")
  var maxRequestBytes: Int?

  @Option(help: "The largest value of a key that /keys takes, in bytes. (default: 1572864, as etcd takes by default)")
  var maxValueBytes: Int?

  @Option(
    help: """
      How many comparisons and operations a transaction of /txn may have, those of transactions within it included; etcd \
      has a limit of its own. (default: 10000)
      """)
  var maxTxnOps: Int?

  @Option(help: "The largest request line and headers together, in bytes, up to 24576. (default: 16384)")
  var maxHeaderBytes: Int?

  @Option(
    help: """
      How many bytes may be kept for clients, all of them together: unfinished request bodies, answers that wait to be \
      read, WebSocket messages, watches; as 512M or 1G, too. (default: a quarter of what the machine or control group has, \
      from 64M to 1G)
      """)
  var maxMemory: ByteCount?

  @Option(help: "How many streams may be open, WebSockets included. (default: 20000)")
  var maxStreams: Int?

  @Option(help: "How many WebSockets may be open besides that have not sent a good request so far. (default: 1000)")
  var maxNewWebsockets: Int?

  @Option(help: "How many bytes of a stream may wait for its client before etcd is held back. (default: 262144)")
  var streamBacklog: Int?

  @Option(help: "When to cut a stream whose client takes nothing though there is something to take. (default: 1m)")
  var stallTimeout: TimeSpan?

  @Option(help: "How long to wait for a connection to etcd, then 503. (default: 2s)")
  var dialTimeout: TimeSpan?

  @Option(
    help: """
      When to ask a member for a sign of life that has streams, owes no answer and is silent; at least 6s, as etcd ends \
      connections that ask more often than every 5s. (default: 10s)
      """)
  var keepaliveTime: TimeSpan?

  @Option(
    help: """
      How long a member's sign of life may take before its connection is given up: writes that wait there are answered \
      503 then, and may have been executed. (default: 5s)
      """)
  var keepaliveTimeout: TimeSpan?

  @Option(
    help: """
      How long a member that owes answers may be silent before it is asked for a sign of life; after as long again \
      calls go to other members, and reads that wait at this one with them. (default: 1s)
      """)
  var suspectAfter: TimeSpan?

  @Option(help: "How long a call may take, unless its client says otherwise. Lock and campaign wait on. (default: 30s)")
  var requestTimeout: TimeSpan?

  @Option(help: "The most a client may ask for by Grpc-Timeout or Request-Timeout. (default: 10m)")
  var maxRequestTimeout: TimeSpan?

  @Option(
    help: """
      How often to ask etcd how far it is, so that a watch without events can go on after any compaction. (default: 1m)
      """)
  var watchProgressInterval: TimeSpan?

  @Option(help: "How many watches a client may have on one stream. (default: 1000)")
  var maxWatches: Int?

  @Option(
    help: """
      How many bytes the watches of a client may take on one stream: their keys, and 512 for each. (default: 4194304)
      """)
  var maxWatchBytes: Int?

  @Option(help: "How long requests under way may take to finish when the gateway is told to stop. (default: 10s)")
  var shutdownTimeout: TimeSpan?

  @Option(
    help: ArgumentHelp(
      "The origins whose pages may read answers and open WebSockets, besides the gateway's own, as https://HOST[:PORT]; "
        + "several are separated by commas. * allows every origin, but without Basic credentials. (default: none)",
      valueName: "origin,..."))
  var cors: AllowedOrigins?

  @Option(
    help: ArgumentHelp(
      "The page /docs: on, off, or the folder its files are in. (default: on, from ../share/etcd-rest/docs beside the "
        + "program)", valueName: "on|off|dir"))
  var docs: DocsOption?

  @Option(help: "How many logins may be under way at etcd; each costs it 30 to 60 ms of a core. (default: 4)")
  var maxLogins: Int?

  @Option(
    help: """
      How many failed logins a user name or a client address may have before it is slowed down; one is forgiven a \
      second. (default: 10)
      """)
  var maxLoginFailures: Int?

  @Option(help: "How many users' tokens to keep. (default: 10000)")
  var maxTokens: Int?
}

/// The environment, under the names of the flags: `--dial-timeout` is `ETCD_REST_DIAL_TIMEOUT`.
struct CommandEnvironment {
  private let config = ConfigReader(provider: EnvironmentVariablesProvider()).scoped(to: "etcd.rest")

  /// The value of a flag: as given, else from the environment, else the default.
  ///
  /// - Throws: `ValidationError` where the environment has what the flag does not take.
  func value<Value: ExpressibleByArgument>(_ given: Value?, _ flag: String, default standard: Value) throws -> Value {
    if let given { return given }
    guard let text = self[flag] else { return standard }
    guard let value = Value(argument: text) else {
      let name = "ETCD_REST_" + flag.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
      throw ValidationError("\(name): '\(text)' is not a value that --\(flag) takes")
    }
    return value
  }

  /// Whether a flag without a value was given, here or, as `true` or `false`, in the environment.
  ///
  /// - Throws: `ValidationError` where the environment has something else.
  func flag(_ given: Bool, _ flag: String) throws -> Bool {
    try value(given ? true : nil, flag, default: false)
  }

  subscript(flag: String) -> String? { config.string(forKey: ConfigKey(stringLiteral: flag)) }
}

/// What the flags and the environment come to.
struct ServeConfiguration {
  let listen: [ListenAddress]
  let tls: TLSSettings?
  let shards: Int
  var settings: GatewaySettings
  let logins: Authenticator.Configuration
  let patience: UInt64
  let logger: Logger

  /// - Throws: `ValidationError` with one line that names the flag and what it takes.
  init(_ command: some ServingCommand, endpoints: [Endpoint]) throws {
    let options = command.options
    let environment = CommandEnvironment()
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
    tls = try command.listener.tls(for: listen, environment)
    shards = try number(
      options.shards, "shards", default: max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), in: 1...256)
    var settings = GatewaySettings(endpoints: endpoints)
    settings.http.requestBytes = try number(
      options.maxRequestBytes, "max-request-bytes", default: settings.http.requestBytes, in: 1...(1 << 30))
    settings.http.valueBytes = try number(
      options.maxValueBytes, "max-value-bytes", default: settings.http.valueBytes, in: 1...(1 << 30))
    settings.maxTransactionOperations = try number(
      options.maxTxnOps, "max-txn-ops", default: settings.maxTransactionOperations, in: 1...1_000_000)
    settings.http.headerBytes = try number(
      options.maxHeaderBytes, "max-header-bytes", default: settings.http.headerBytes, in: 256...(24 << 10))
    settings.hasAdminListener = !admin.isEmpty
    settings.http.proxies = try command.access.proxies(environment, listen: listen)
    try command.connections.apply(to: &settings.http, shards: shards, environment)
    settings.memoryBytes = try environment.value(
      options.maxMemory, "max-memory", default: ByteCount(MachineMemory.budget)
    ).bytes
    guard settings.memoryBytes >= 1 << 20 else { throw ValidationError("--max-memory must be at least 1M") }
    settings.streams = StreamLimits(
      most: try number(options.maxStreams, "max-streams", default: 20_000, in: 1...1_000_000),
      maxNew: try number(options.maxNewWebsockets, "max-new-websockets", default: 1000, in: 1...1_000_000),
      backlog: try number(options.streamBacklog, "stream-backlog", default: 256 << 10, in: 1...(1 << 30)),
      stallTimeout: try time(options.stallTimeout, "stall-timeout", default: 60))
    settings.http.tls = TLSTerminations.Limits(
      handshake: try time(command.listener.handshakeTimeout, "handshake-timeout", default: 10),
      stall: settings.streams.stallTimeout)
    settings.bridge.channel.dialTimeout = try time(options.dialTimeout, "dial-timeout", default: 2)
    settings.bridge.channel.keepaliveTime = try time(
      options.keepaliveTime, "keepalive-time", default: 10, atLeast: 6)
    settings.bridge.channel.keepaliveTimeout = try time(options.keepaliveTimeout, "keepalive-timeout", default: 5)
    settings.bridge.channel.suspectAfter = try time(options.suspectAfter, "suspect-after", default: 1)
    settings.timeLimits = TimeLimits(
      standard: try time(options.requestTimeout, "request-timeout", default: 30),
      most: try time(options.maxRequestTimeout, "max-request-timeout", default: 600))
    settings.bridge.watchProgressInterval = try time(
      options.watchProgressInterval, "watch-progress-interval", default: 60, atLeast: 1)
    settings.bridge.maxBatch = try number(options.maxBatch, "max-batch", default: 64, in: 1...1000)
    settings.bridge.maxWatchBytes = try number(
      options.maxWatchBytes, "max-watch-bytes", default: 4 << 20, in: (64 << 10)...(1 << 30))
    settings.bridge.maxWatches = try number(options.maxWatches, "max-watches", default: 1000, in: 1...1_000_000)
    settings.origins = try environment.value(options.cors, "cors", default: AllowedOrigins())
    settings.hosts = try command.access.hosts(environment)
    settings.identity = try command.identity.credentials(environment)

    let logger = try command.logs.logger(environment)
    self.logger = logger
    settings.accessLog = try command.logs.accessLog(environment)
    settings.docs = try environment.value(options.docs, "docs", default: .on).page(logger: logger)
    settings.bridge.channel.tls = try TLSConfiguration(command.upstreamTLS, environment).map {
      try ClientTLS.make($0, logger: logger)
    }

    var logins = Authenticator.Configuration()
    logins.maxConcurrentLogins = try number(options.maxLogins, "max-logins", default: 4, in: 1...1000)
    logins.maxFailures = try number(options.maxLoginFailures, "max-login-failures", default: 10, in: 1...1_000_000)
    logins.maxTokens = try number(options.maxTokens, "max-tokens", default: 10_000, in: 1...10_000_000)
    settings.bridge.maxTokens = logins.maxTokens
    self.logins = logins
    self.settings = settings
    patience = try time(options.shutdownTimeout, "shutdown-timeout", default: 10)
  }
}
