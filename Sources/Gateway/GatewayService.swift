import EventLoop
import GrpcBridge
import Logging
import ServiceLifecycle

/// The gateway as a whole: its shards, each on its thread, and the authenticator between them.
final class GatewayService: Service {
  /// How long requests under way may take to finish when the gateway is told to stop, in milliseconds.
  private let patience: UInt64
  private let greeting: String
  private let shards: [LoopBound<Shard>]
  private let loops: [EventLoop.Remote]
  private let threads: [LoopThread]
  private let authenticator: Authenticator

  /// Opens the sockets and starts the threads: requests are served from here on.
  ///
  /// - Throws: `ListenAddress.Failure` or `LoopError`, each with one clear line.
  init(
    listen: ListenAddress, shards count: Int, settings: GatewaySettings, logins: Authenticator.Configuration,
    patience: UInt64, logger: Logger, greeting: (ListenAddress) -> String
  ) throws {
    self.patience = patience
    let routes = try RouteTable()
    let (sockets, address) = try listen.listen(count: count)
    self.greeting = greeting(address)
    // All connections go to the same members: one shard's reports of them will do.
    var quiet = logger
    if quiet.logLevel > .debug { quiet.logLevel = .error }
    authenticator = try Authenticator(
      endpoints: settings.endpoints, channel: settings.bridge.channel, configuration: logins, logger: logger,
      channelLogger: quiet)
    var shards: [LoopBound<Shard>] = []
    var loops: [EventLoop.Remote] = []
    var threads: [LoopThread] = []
    let streamCount = StreamCount(most: settings.streams.most)
    for (index, socket) in sockets.enumerated() {
      let loop = try EventLoop()
      let shard = try Shard(
        loop: loop, listener: socket, settings: settings, routes: routes, authenticator: authenticator,
        streamCount: streamCount, logger: index == 0 ? logger : quiet)
      shards.append(LoopBound(shard, loop: loop))
      loops.append(loop.remote)
      threads.append(LoopThread(name: "etcd-rest \(index)", running: LoopBound(loop, loop: loop)))
    }
    self.shards = shards
    self.loops = loops
    self.threads = threads
    // Reading the schema took a megabyte that nobody needs from here on.
    returnFreeMemory()
  }

  /// Serves until the process is told to stop; then finishes what is under way.
  func run() async throws {
    // Said only now that a signal ends the gateway in good order.
    say(greeting)
    try? await gracefulShutdown()
    for (shard, loop) in zip(shards, loops) {
      loop.execute { [patience] in shard.value.drain(patience: patience) }
    }
    for thread in threads { thread.join() }
    authenticator.close()
  }
}
