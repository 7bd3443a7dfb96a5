import EventLoop
import GrpcBridge
import Logging
import ServiceLifecycle
import TLS
import UnixSignals

/// How a gateway hears of other endpoints than those that it began with.
struct EndpointRenewal: Sendable {
  /// Read again on ``GatewayService/reload()``.
  var source: EndpointSource?
  /// The file of settings, which may have the endpoints; read again then, too.
  var file: ConfigurationFile?
  /// How often the cluster is asked for its members, in milliseconds.
  var syncInterval: UInt64?
}

/// The gateway as a whole: its shards, each on its thread, and the authenticator between them.
final class GatewayService: Service {
  /// How long requests under way may take to finish when the gateway is told to stop, in milliseconds.
  private let patience: UInt64
  /// How long to go on serving before that, in milliseconds, for load balancers to see that it ends.
  private let shutdownDelay: UInt64
  private let greeting: String
  private let shards: [LoopBound<Shard>]
  private let loops: [LoopBound<EventLoop>]
  private let authenticator: Authenticator
  private let listeners: Listeners
  private let tls: RenewableTLSContext?
  private let upstreamTLS: ClientTLS?
  private let telemetry: Telemetry
  private let renewal: EndpointRenewal
  private let logger: Logger
  private let reloadsOnHangup: Bool
  private let startThread: ThreadStarter

  /// Starts the thread of a loop; `LoopThread.init` but in tests.
  typealias ThreadStarter = @Sendable (_ name: String, _ loop: LoopBound<EventLoop>) throws(LoopError) -> LoopThread

  /// Opens the sockets, and starts nothing: what comes in waits for ``run()``.
  ///
  /// - Parameters:
  ///   - tls: what TLS connections are made with; needed where an address of `listen` has TLS.
  ///   - reloadsOnHangup: whether SIGHUP calls ``reload()``; else its effect is up to others.
  ///   - greeting: what to say once requests are served, given where.
  /// - Throws: `ListenFailure`, `TLSError`, `LoopError` or `DescriptorBudget.Shortage`, each with one clear line. Nothing
  ///   is left then that listens.
  init(
    listen: [ListenAddress], tls: TLSSettings?, shards count: Int, settings: GatewaySettings,
    renewal: EndpointRenewal, logins: Authenticator.Configuration, patience: UInt64,
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
    var settings = settings
    settings.http.descriptors = try Self.descriptors(shards: count, settings: settings, logger: logger)
    HTTPLibrary.loaded.log(to: logger)
    upstreamTLS = settings.bridge.channel.tls
    let routes = try RouteTable()
    let descriptions = OpenAPIFiles(routes)
    self.tls = try tls.map { try RenewableTLSContext(serving: $0, logger: logger) }
    let listeners = try Listeners(listen, shards: count)
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
    // All connections go to the same members: one shard's reports of them will do.
    var quiet = logger
    if quiet.logLevel > .debug { quiet.logLevel = .error }
    authenticator = try Authenticator(
      endpoints: settings.endpoints, channel: settings.bridge.channel, configuration: logins, logger: logger,
      channelLogger: quiet)
    let memoryBudget = MemoryBudget(bytes: settings.memoryBytes)
    telemetry = Telemetry(authenticator: authenticator, tls: self.tls, memoryLimit: settings.memoryBytes)
    let streamCount = StreamCount(most: settings.streams.most, maxNew: settings.streams.maxNew)
    for (index, sockets) in listeners.shards.enumerated() {
      let loop = try EventLoop()
      let shard = try Shard(
        loop: loop, listeners: sockets, tls: self.tls, settings: settings, routes: routes,
        descriptions: descriptions, authenticator: authenticator, streamCount: streamCount,
        memoryBudget: memoryBudget, telemetry: telemetry, logger: index == 0 ? logger : quiet)
      shards.append(LoopBound(shard, loop: loop))
      loops.append(LoopBound(loop, loop: loop))
    }
    self.shards = shards
    self.loops = loops
    isMade = true
    // Reading the schema took a megabyte that nobody needs from here on.
    returnFreeMemory()
  }

  /// How many descriptors the clients of a shard may have.
  private static func descriptors(
    shards: Int, settings: GatewaySettings, logger: Logger
  ) throws(DescriptorBudget.Shortage) -> Int {
    let limit = DescriptorBudget.systemLimit
    let budget = try DescriptorBudget(limit: limit, shards: shards, members: settings.endpoints.count)
    let share = max(4, budget.clients / shards)
    if share < settings.http.connections {
      logger.warning(
        "the limit of descriptors allows less than --max-connections",
        metadata: ["descriptors": "\(limit)", "connections": "\(share * shards)"])
    }
    return share
  }

  /// Starts the threads and serves until the process is told to stop; then finishes what is under way.
  ///
  /// - Throws: `LoopError` where the system grants no further thread.
  func run() async throws {
    var threads: [LoopThread] = []
    do {
      try authenticator.start()
      for (index, loop) in loops.enumerated() { threads.append(try startThread("etcd-rest \(index)", loop)) }
    } catch {
      // The shards that run already serve nobody any more, and nothing of the gateway is left behind.
      listeners.removeFiles()
      end(threads, patience: 0)
      throw error
    }
    telemetry.shards = shards
    let hangups = reloadsOnHangup ? await UnixSignalsSequence(trapping: .sighup) : nil
    // Who reads the greeting finds what was logged before.
    LogWriter.standardError.flush(within: 1000)
    // Said only now that signals have their meaning.
    say(greeting)
    loops[0].remote.execute { [shards] in shards[0].value.lookForPlaintext() }
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
    if shutdownDelay > 0 {
      for (shard, loop) in zip(shards, loops) { loop.remote.execute { shard.value.announceEnd() } }
      try? await Task.sleep(for: .milliseconds(shutdownDelay))
    }
    listeners.removeFiles()
    end(threads, patience: patience)
  }

  /// Ends the shards, which take no more connections, and then the authenticator.
  ///
  /// - Parameters:
  ///   - threads: those of the first shards; the others have none.
  ///   - patience: how long requests under way may take to finish, in milliseconds.
  private func end(_ threads: [LoopThread], patience: UInt64) {
    for (index, (shard, loop)) in zip(shards, loops).enumerated() {
      if index < threads.count {
        loop.remote.execute { shard.value.drain(patience: patience) }
      } else {
        // Its sockets would have clients wait that nobody will serve.
        shard.value.close()
      }
    }
    for thread in threads { thread.join() }
    telemetry.shards = []
    authenticator.close()
  }

  /// Looks at the files again that the gateway was told of. What is wrong with new ones is logged, and what was made of
  /// the old ones stays in use.
  func reload() {
    logger.info("reloading")
    telemetry.hasReloaded()
    tls?.look(isAsked: true)
    upstreamTLS?.reload()
    guard var source = renewal.source else { return }
    do {
      if let file = renewal.file {
        let new = try file.readAgain()
        tellOfChanges(file.changes(in: new).filter { $0 != "endpoints" })
        if case .settings = source { source = .settings(new) }
      }
      if case .list = source { return }
      let endpoints = try source.read()
      logger.info("endpoints", metadata: ["endpoints": "\(endpoints.map(\.description).joined(separator: ","))"])
      update(endpoints)
    } catch {
      logger.error("the endpoints stay as they are", metadata: ["reason": "\(error)"])
    }
  }

  /// Tells which settings of the file are others now, but take a new start.
  private func tellOfChanges(_ changes: [String]) {
    guard !changes.isEmpty else { return }
    logger.warning(
      "these settings take effect when the gateway is started again",
      metadata: ["settings": "\(changes.joined(separator: ", "))"])
  }

  /// Takes other members in place of those it has.
  private func update(_ endpoints: [Endpoint]) {
    for (shard, loop) in zip(shards, loops) {
      loop.remote.execute { shard.value.bridge.update(endpoints) }
    }
    authenticator.update(endpoints)
  }
}
