import EventLoop
package import GrpcBridge
package import HTTPServer
import Logging
import TLS

/// The settings that all shards of a gateway share, without changing them.
package struct GatewaySettings: Sendable {
  var endpoints: [Endpoint]
  var http = HTTPServer.Limits()
  var timeLimits = TimeLimits()
  package var bridge = Bridge.Configuration(keepalivesNeedUsers: true)
  var streams = StreamLimits()
  /// How many comparisons and operations a transaction in plain JSON may have.
  var maxTransactionOperations = TxnReader.maxOperations
  /// How many bytes may be kept for clients.
  var memoryBytes = MachineMemory.budget
  /// How large a key's value may be, in bytes: etcd's default limit of a request.
  var maxValueBytes = 1536 << 10
  /// The origins whose pages may read answers, change anything, and open WebSockets.
  var origins = AllowedOrigins()
  /// The hosts that requests without credentials may name.
  var hosts = AllowedHosts()
  /// The page `/docs`; nil if there is none.
  var docs: DocsPage?
  /// The user of requests without credentials.
  var identity: BasicCredentials?
  var accessLog = AccessLog.Configuration()
  /// The settings for spans; nil if none are made.
  var tracing: TracingSettings?
  /// An address at which clients of other machines would send passwords without TLS; nil if there is none.
  var plainAddress: String?
  /// Whether metrics have their own address (`--admin-listen`).
  var hasAdminListener = false

  package init(endpoints: [Endpoint]) { self.endpoints = endpoints }
}

/// The unit of scale: one thread with one loop that owns listening sockets, their HTTP/1.1 server and its connections
/// to etcd. A request stays on the shard that accepted it, and shares nothing with other shards.
package final class Shard: HTTPService {
  let settings: GatewaySettings
  package let bridge: Bridge
  /// The user of requests without credentials.
  private(set) var identity: UserCredentials?
  let logger: Logger
  let loop: EventLoop
  private let routes: RouteTable
  /// The versions that members have reported.
  let versions: VersionMemory
  /// The RPC that observes elections.
  var observation: RPCRoute { routes.observation }
  /// The API's descriptions.
  let descriptions: OpenAPIFiles
  private let sockets: TakenOverConnections
  /// Counts the bytes that are kept for clients.
  let memory: MemoryAccount
  private let trimmer: MemoryTrimmer
  /// Counts requests.
  let journal: RequestJournal
  /// Gathers metrics of all shards.
  let scraper: Scraper
  private let telemetry: Telemetry
  /// The numbers of the last minutes.
  var history: StatusHistory { telemetry.history }
  /// The streams that are open.
  let streams: OpenStreams
  private let hostGate: HostGate
  package private(set) var server: HTTPServer!
  private var drainTimer: LoopTimer?
  private var sync: EndpointSync?
  private var plaintextWarning: PlaintextWarning?
  private var watchdog: Watchdog?
  private var sampler: StatusSampler?
  private var isClosed = false
  /// How often libmicrohttpd runs in one turn: clients that always have another request ready must not delay etcd's
  /// answers.
  private static let maxRuns = 16
  /// How long connections that have sent no request yet may take for the first one when the shard ends, in
  /// milliseconds.
  private static let newcomerPatience: UInt64 = 1000

  /// - Parameters:
  ///   - listeners: listening sockets, which the shard takes over.
  ///   - tls: the TLS context; nil if no listener uses TLS.
  ///   - streamCount: counts the streams of all shards.
  ///   - telemetry: gathers metrics of all shards.
  ///   - memoryBudget: the memory of all shards for clients.
  ///   - spans: takes the spans of all shards; nil if none are made.
  init(
    loop: EventLoop, listeners: [Listener], tls: RenewableTLSContext?, settings: GatewaySettings, routes: RouteTable,
    descriptions: OpenAPIFiles, authenticator: Authenticator, streamCount: StreamCount,
    memoryBudget: MemoryBudget, telemetry: Telemetry, spans: SpanQueue?, logger: Logger
  ) throws {
    self.loop = loop
    self.settings = settings
    self.routes = routes
    self.descriptions = descriptions
    self.logger = logger
    bridge = Bridge(
      loop: loop, endpoints: settings.endpoints, authenticator: authenticator, configuration: settings.bridge,
      logger: logger)
    let bridge = bridge
    versions = VersionMemory(loop: loop, bridge: bridge, configuration: settings.bridge.channel)
    identity = settings.identity.map { bridge.keep($0, areOwn: true) }
    trimmer = MemoryTrimmer(loop: loop)
    memory = MemoryAccount(memoryBudget, trimmer: trimmer)
    sockets = TakenOverConnections(
      loop: loop, stallLimit: settings.streams.stallTimeout, memory: memory, trimmer: trimmer)
    bridge.watches.memory = memory
    memory.onShortage = { [unowned sockets] in sockets.endStalled() }
    streams = OpenStreams(loop: loop, count: streamCount)
    journal = RequestJournal(
      templates: routes.templates, log: AccessLog(settings.accessLog),
      tracer: spans.map { Tracer($0, ratio: settings.tracing?.ratio ?? 1) })
    self.telemetry = telemetry
    scraper = Scraper(telemetry, memory: memory, loop: loop)
    hostGate = HostGate(hosts: settings.hosts, loop: loop, bridge: bridge)
    server = try HTTPServer(
      loop: loop, listeners: listeners, tls: tls, limits: settings.http, origins: settings.origins, sockets: sockets,
      memory: memory, trimmer: trimmer, service: self, logger: logger)
    loop.beforeWaiting { [unowned self] in turn() }
  }

  /// Runs once a turn of the loop, before it waits: serves what has come in since the last time, and sends the results
  /// in one write.
  private func turn() {
    guard !isClosed else { return }
    var runs = 0
    repeat {
      server.turn()
      bridge.flush()
      runs += 1
    } while server.needsRun && runs < Self.maxRuns
    // In most turns there is nothing to send on streams.
    if sockets.needsFlush {
      sockets.flush()
      // A client that has caught up lets etcd continue.
      bridge.flush()
    }
    journal.flush()
    if server.needsRun { server.comeBack() }
  }

  // MARK: - Requests

  package func handler(for exchange: Exchange) -> any RequestHandler {
    journal.begins(exchange)
    if exchange.head.method == .options && exchange.head.path.elementsEqual(RequestTarget.asterisk.bytes) {
      exchange.record.route = RouteTable.asteriskTemplate
      return OptionsHandler(exchange, methods: RouteTable.methods, origins: settings.origins)
    }
    guard let (route, number) = routes[exchange.head.path], route.isServed(to: exchange, settings) else {
      return ConstantResponseHandler(exchange, .nothing(at: exchange.head.path, isAdmin: exchange.isAdmin))
    }
    exchange.record.route = number
    if exchange.head.asksForWebSocket, exchange.head.method == .get, let rpc = route.rpc {
      return WebSocketHandler(rpc, exchange: exchange, shard: self)
    }
    if exchange.head.method == .options {
      return OptionsHandler(exchange, methods: route.allow, origins: settings.origins)
    }
    guard route.takes(exchange.head.method) else {
      exchange.record.isMethodOfRoute = false
      return ConstantResponseHandler(
        exchange, .wrongMethod(allow: route.allow, isRPC: route.rpc != nil))
    }
    if let refusal = CrossOrigin.refusal(of: exchange, settings.origins) {
      return ConstantResponseHandler(exchange, refusal)
    }
    if exchange.head.hasContentEncoding {
      return ConstantResponseHandler(
        exchange,
        RequestError(
          415, "the request body must not be compressed",
          headers: [("Accept-Encoding", "identity")]))
    }
    if exchange.head.hasContentRange && exchange.head.method == .put {
      // Storing a part in place of the whole would lose the rest (RFC 9110, section 14.5).
      return ConstantResponseHandler(
        exchange, RequestError.badRequest("Content-Range: a value can be put as a whole only"))
    }
    do throws(RequestError) {
      return try handler(of: route, for: exchange)
    } catch {
      return ConstantResponseHandler(exchange, error)
    }
  }

  private func handler(of route: RouteTable.Route, for exchange: Exchange) throws(RequestError) -> any RequestHandler {
    switch route {
    case .rpc(let rpc): return RPCHandler(rpc, exchange: exchange, shard: self)
    case .probe(let probe): return ProbeHandler(probe, exchange: exchange, shard: self)
    case .description(let format): return OpenAPIHandler(format, exchange: exchange, shard: self)
    case .snapshot(let rpc): return SnapshotHandler(rpc, exchange: exchange, shard: self)
    case .stream(let rpc): return StreamHandler(rpc, exchange: exchange, shard: self)
    case .transaction: return try TxnHandler(exchange, shard: self)
    case .leases, .varying(.lease), .varying(.leaseRenewal): return try LeaseRequest(exchange).handler(exchange, self)
    case .varying(.key), .keys, .changes: return try KeyRequest(exchange).handler(exchange, self)
    case .varying(.electionChanges) where exchange.head.method == .head:
      return try ObservationHeadHandler(exchange, shard: self)
    case .varying(.electionChanges): return try ObservationHandler(exchange, shard: self)
    case .varying(let route): return try QueueOperation.handler(of: route, for: exchange, self)
    case .metrics: return MetricsHandler(exchange: exchange, shard: self)
    case .docs(let file): return DocsHandler(file, of: settings.docs, exchange: exchange)
    }
  }

  package func gate(
    for exchange: Exchange, handledBy handler: any RequestHandler
  ) throws(RequestError) -> (any RequestGate)? {
    let needsKnownClient = handler.bodyUse != .none && !handler.isLogin && exchange.head.mayHaveLargeBody
    guard handler.needsAllowedHost, hostGate.isNeeded(for: exchange) else {
      return needsKnownClient ? try BodyGate(exchange, shard: self) : nil
    }
    return HostQuestion(exchange, at: hostGate) { [unowned self, unowned exchange] () throws(RequestError) in
      needsKnownClient ? try BodyGate(exchange, shard: self) : nil
    }
  }

  package func response(to error: RequestError) -> HTTPResponse { .error(error) }

  package func challenges(to head: borrowing RequestHead) -> HTTPResponse.Headers { Challenge.headers(to: head) }

  package func ended(_ exchange: Exchange, isCut: Bool) { journal.ended(exchange, isCut: isCut) }

  /// Adds the counters of the shard's connections.
  func addConnections(to samples: inout MetricSamples, _ shard: MetricSamples.Labels) {
    samples.add(.requestsInFlight, server.exchangeCount)
    samples.add(.connections, shard, server.connectionCount)
    samples.add(.acceptedConnections, server.acceptedCount)
    samples.add(.refusedConnections, server.refusedCount)
    samples.add(.streamBytes, sockets.sentBytes)
    guard let handshakes = server.terminations?.handshakeCounts else { return }
    samples.add(.tlsHandshakes, ["result": "done"], handshakes.done)
    samples.add(.tlsHandshakes, ["result": "failed"], handshakes.failed)
  }

  /// The time of the shard's loop, in milliseconds.
  var now: UInt64 { loop.now }

  /// Asks the cluster for its members from time to time.
  func followMembers(every interval: UInt64, report: @escaping ([Endpoint]) -> Void) {
    guard !isClosed else { return }
    sync = EndpointSync(
      bridge: bridge, loop: loop, interval: interval,
      caller: ownCaller, logger: logger,
      report: report)
  }

  /// The caller of the gateway's own calls.
  private var ownCaller: Caller { Caller(identity.map { .user($0) } ?? .none, peer: .itself) }

  /// Sets another user, or none, for requests without credentials from now on.
  func use(_ credentials: BasicCredentials?) {
    loop.checkOnLoop()
    identity = credentials.map { bridge.keep($0, areOwn: true) }
    sync?.caller = ownCaller
  }

  /// Begins to check whether to warn of passwords in plaintext.
  func lookForPlaintext() {
    guard !isClosed, let address = settings.plainAddress else { return }
    plaintextWarning = PlaintextWarning(address, bridge: bridge, loop: loop, logger: logger)
  }

  /// Notifies the service manager regularly, as long as all threads run.
  ///
  /// - Parameters:
  ///   - interval: how often, in milliseconds.
  ///   - asked: runs a job on each loop of the process.
  func feedWatchdog(of manager: ServiceManager, every interval: UInt64, asking asked: [Watchdog.Execute]) {
    guard !isClosed else { return }
    watchdog = Watchdog(of: manager, loop: loop, every: interval, asking: asked)
  }

  /// Samples the counters of all shards from time to time, for the status page.
  func keepHistory() {
    guard !isClosed else { return }
    sampler = StatusSampler(telemetry, history: history, loop: loop)
  }

  // MARK: - The end

  /// Whether every answer is the last of its connection.
  var isDraining: Bool { server.isDraining }

  /// Continues to serve, but reports that it is not ready, and has clients use another gateway for their next request.
  func announceEnd() {
    loop.checkOnLoop()
    server.announceEnd()
  }

  /// A lock that is free is granted in less, in milliseconds.
  private static let patienceWithLocks: UInt64 = 500

  /// Accepts no more connections, ends streams and waits without an end of their own, lets other requests under way
  /// finish for up to `patience` milliseconds, and ends the loop.
  func drain(patience: UInt64) {
    loop.checkOnLoop()
    guard drainTimer == nil else { return }
    server.beginDraining()
    streams.stop()
    let end = loop.now + patience
    let newcomersEnd = loop.now + min(patience, Self.newcomerPatience)
    let wait = min(Self.patienceWithLocks, patience / 2)
    drainTimer = LoopTimer(loop: loop) { [unowned self] in
      bridge.giveUpWaiting(after: wait, with: GRPCStatus(.unavailable, OpenStreams.stopping))
      let isDone =
        server.exchangeCount == 0 && sockets.count == 0 && !server.hasUnsentAnswers && !bridge.hasQuestions
        && (!server.hasNewcomers || loop.now >= newcomersEnd)
      if isDone || loop.now >= end { close() }
    }
    drainTimer?.start(after: 0, every: 20)
  }

  /// Ends the shard and its loop. To be called on the loop's thread, or while it has none.
  func close() {
    drainTimer = nil
    sync?.stop()
    sync = nil
    plaintextWarning?.stop()
    plaintextWarning = nil
    watchdog?.stop()
    watchdog = nil
    sampler?.stop()
    sampler = nil
    versions.close()
    scraper.close()
    // Ends all calls, and later ones at once: after that no connection is suspended, as libmicrohttpd requires.
    bridge.close()
    turn()
    isClosed = true
    server.stop()
    journal.flush()
    trimmer.stop()
    loop.stop()
  }
}
