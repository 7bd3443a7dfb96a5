import EventLoop
import GrpcBridge
import HTTPServer
import Logging
import ServiceLifecycle
import Synchronization
import TLS
import UnixSignals

/// The whole gateway: its shards, each on its thread, and the authenticator that they share.
final class GatewayService: Service {
  /// How long requests under way may take to finish when the gateway stops, in milliseconds.
  private let patience: UInt64
  /// How long to continue serving before that, in milliseconds, so that load balancers notice the end.
  private let shutdownDelay: UInt64
  private let greeting: String
  private let shards: [LoopBound<Shard>]
  private let loops: [LoopBound<EventLoop>]
  private let authenticator: Authenticator
  /// Nil if no spans are made.
  private let exporter: SpanExporter?
  private let listeners: Listeners
  private let tls: RenewableTLSContext?
  private let upstreamTLS: ClientTLS?
  private let telemetry: Telemetry
  private let renewal: Renewal
  /// The settings that can change, as they were last applied.
  private let taken: Mutex<RenewableSettings>
  private let manager: ServiceManager?
  private let logger: Logger
  private let reloadsOnHangup: Bool
  private let startThread: ThreadStarter

  /// Starts the thread of a loop; `LoopThread.init`, except in tests.
  typealias ThreadStarter = @Sendable (_ name: String, _ loop: LoopBound<EventLoop>) throws(LoopError) -> LoopThread

  /// Opens the sockets, and starts nothing: connections wait for ``run()``.
  ///
  /// - Parameters:
  ///   - tls: the TLS settings; required if an address of `listen` has TLS.
  ///   - reusesPort: whether other processes may listen on the same ports.
  ///   - renewal: reads the settings again.
  ///   - manager: is notified of the gateway's start, reload and end.
  ///   - reloadsOnHangup: whether SIGHUP calls ``reload()``; otherwise the caller handles SIGHUP.
  ///   - greeting: makes the text to print once requests are served, from the addresses.
  /// - Throws: `ListenFailure`, `TLSError`, `LoopError` or `DescriptorBudget.Shortage`, each with one clear line. Then
  ///   no socket is left open.
  init(
    listen: [ListenAddress], reusesPort: Bool = false, tls: TLSSettings?, shards count: Int,
    settings: GatewaySettings, renewal: Renewal, manager: ServiceManager? = nil, logins: Authenticator.Configuration,
    patience: UInt64,
    shutdownDelay: UInt64 = 0, logger: Logger, reloadsOnHangup: Bool,
    startThread: @escaping ThreadStarter = { name, loop throws(LoopError) in try LoopThread(name: name, running: loop)
    },
    greeting: ([ListenAddress]) -> String
  ) throws {
    self.startThread = startThread
    self.patience = patience
    self.shutdownDelay = shutdownDelay
    self.logger = logger
    self.reloadsOnHangup = reloadsOnHangup
    self.renewal = renewal
    self.manager = manager
    taken = Mutex(
      RenewableSettings(
        endpoints: settings.endpoints, identity: settings.identity, exportHeaders: settings.tracing?.headers,
        file: renewal.file))
    var settings = settings
    settings.http.descriptors = try Self.descriptors(shards: count, settings: settings, logger: logger)
    HTTPLibrary.loaded.log(to: logger)
    upstreamTLS = settings.bridge.channel.tls
    let routes = try RouteTable()
    let descriptions = OpenAPIFiles(routes)
    self.tls = try tls.map { try RenewableTLSContext(serving: $0, logger: logger) }
    let listeners = try Listeners(listen, shards: count, reusesPort: reusesPort)
    self.listeners = listeners
    var shards: [LoopBound<Shard>] = []
    var loops: [LoopBound<EventLoop>] = []
    var isMade = false
    defer {
      if !isMade {
        for shard in shards { shard.value.close() }
        listeners.close(from: shards.count)
      }
    }
    self.greeting = greeting(listeners.addresses)
    // All connections go to the same members: log messages from one shard suffice.
    var quiet = logger
    if quiet.logLevel > .debug { quiet.logLevel = .error }
    authenticator = try Authenticator(
      endpoints: settings.endpoints, channel: settings.bridge.channel, configuration: logins, logger: logger,
      channelLogger: quiet)
    exporter = try settings.tracing.map { try SpanExporter($0, logger: logger) }
    let memoryBudget = MemoryBudget(bytes: settings.memoryBytes)
    telemetry = Telemetry(
      authenticator: authenticator, tls: self.tls, memoryLimit: settings.memoryBytes, spans: exporter?.queue)
    let streamCount = StreamCount(most: settings.streams.most, maxNew: settings.streams.maxNew)
    for (index, sockets) in listeners.shards.enumerated() {
      let loop = try EventLoop()
      let shard = try Shard(
        loop: loop, listeners: sockets, tls: self.tls, settings: settings, routes: routes,
        descriptions: descriptions, authenticator: authenticator, streamCount: streamCount,
        memoryBudget: memoryBudget, telemetry: telemetry, spans: exporter?.queue, logger: index == 0 ? logger : quiet)
      shards.append(LoopBound(shard, loop: loop))
      loops.append(LoopBound(loop, loop: loop))
    }
    self.shards = shards
    self.loops = loops
    isMade = true
    // Reading the schema took a megabyte that is not needed any more.
    returnFreeMemory()
  }

  /// How many descriptors the clients of a shard may have.
  private static func descriptors(
    shards: Int, settings: GatewaySettings, logger: Logger
  ) throws(DescriptorBudget.Shortage) -> Int {
    let limit = DescriptorBudget.systemLimit
    let budget = try DescriptorBudget(limit: limit, shards: shards, members: settings.endpoints.count)
    let share = budget.clientsPerShard
    if share < settings.http.connections {
      logger.warning(
        "the limit of descriptors allows less than --max-connections",
        metadata: ["descriptors": "\(limit)", "connections": "\(share * shards)"])
    }
    return share
  }

  /// Starts the threads and serves until the process has to stop; then finishes what is under way.
  ///
  /// - Throws: `LoopError` if the system grants no further thread.
  func run() async throws {
    var threads: [LoopThread] = []
    do {
      try authenticator.start()
      try exporter?.start()
      for (index, loop) in loops.enumerated() { threads.append(try startThread("etcd-rest \(index)", loop)) }
    } catch {
      // The shards that run already must not serve clients any more, and no files are left behind.
      listeners.removeFiles()
      end(threads, patience: 0)
      throw error
    }
    telemetry.shards = shards
    let hangups = reloadsOnHangup ? await UnixSignalsSequence(trapping: .sighup) : nil
    // What was logged before appears before the greeting.
    LogWriter.standardError.flush(within: 1000)
    // Not before now: only from here on are signals handled.
    say(greeting)
    manager?.tell(.serving(greeting))
    if let manager, let interval = manager.watchdogInterval {
      let asked = loops.map { $0.remote.execute } + [authenticator.execute]
      loops[0].remote.execute { [shards] in shards[0].value.feedWatchdog(of: manager, every: interval, asking: asked) }
    }
    loops[0].remote.execute { [shards] in
      shards[0].value.lookForPlaintext()
      shards[0].value.keepHistory()
    }
    if let interval = renewal.syncInterval {
      loops[0].remote.execute { [shards] in
        shards[0].value.followMembers(every: interval) { [weak self] in self?.update($0) }
      }
    }
    await withTaskGroup { group in
      if let hangups { group.addTask { for await _ in hangups { self.reload() } } }
      try? await gracefulShutdown()
      group.cancelAll()
    }
    manager?.tell(.stopping)
    if shutdownDelay > 0 {
      for (shard, loop) in zip(shards, loops) { loop.remote.execute { shard.value.announceEnd() } }
      try? await Task.sleep(for: .milliseconds(shutdownDelay))
    }
    listeners.removeFiles()
    end(threads, patience: patience)
  }

  /// Ends the shards, which accept no more connections, and then the authenticator and the exporter of spans.
  ///
  /// - Parameters:
  ///   - threads: the threads of the first shards; the other shards have none.
  ///   - patience: how long requests under way may take to finish, in milliseconds.
  private func end(_ threads: [LoopThread], patience: UInt64) {
    for (index, (shard, loop)) in zip(shards, loops).enumerated() {
      if index < threads.count {
        loop.remote.execute { shard.value.drain(patience: patience) }
      } else {
        // Otherwise clients would wait at its sockets, which no thread serves.
        shard.value.close()
      }
    }
    for thread in threads { thread.join() }
    telemetry.shards = []
    authenticator.close()
    exporter?.close()
  }

  /// Reads all settings again and applies those that can change while the gateway serves; applies none if any is
  /// invalid. The log gets one line about the result.
  func reload() {
    guard let read = renewal.read else { return }
    manager?.tell(.reloading)
    do {
      let new = try read()
      let changes = take(new)
      telemetry.hasReloaded(well: true)
      changes.log(to: logger)
      manager?.tell(.serving(greeting))
    } catch {
      // Otherwise the next connection would use those of the files that are valid.
      tls?.ignorePresentFiles()
      upstreamTLS?.ignorePresentFiles()
      telemetry.hasReloaded(well: false)
      logger.error("the reload failed; the old settings stay in effect", metadata: ["reason": "\(error)"])
      manager?.tell(.serving("\(greeting); the last reload failed: \(error)"))
    }
  }

  private func take(_ new: RenewableSettings) -> SettingsChanges {
    let old = taken.withLock { taken in
      defer { taken = new }
      return taken
    }
    var changes = SettingsChanges(
      from: old, to: new, since: renewal.file,
      hasUpstreamTLS: upstreamTLS != nil && new.upstreamTLS != nil)
    if new.endpoints != old.endpoints { update(new.endpoints) }
    if new.identity != old.identity {
      for (shard, loop) in zip(shards, loops) { loop.remote.execute { shard.value.use(new.identity) } }
    }
    if let exporter, let headers = new.exportHeaders, headers != old.exportHeaders { exporter.use(headers: headers) }
    if let tls, let renewed = new.tls, tls.adopt(renewed) {
      changes.certificates["certificate"] = tls.certificate ?? ""
    }
    if let upstreamTLS, let renewed = new.upstreamTLS, upstreamTLS.adopt(renewed) {
      changes.certificates["certificate-for-etcd"] = upstreamTLS.certificate ?? "none"
    }
    return changes
  }

  /// Replaces the set of members.
  private func update(_ endpoints: [Endpoint]) {
    for (shard, loop) in zip(shards, loops) {
      loop.remote.execute { shard.value.bridge.update(endpoints) }
    }
    authenticator.update(endpoints)
  }
}
