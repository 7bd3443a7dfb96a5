import EventLoop
import Glibc
import Logging

/// The connections whose header of the PROXY protocol has not come yet. Belongs to the shard's loop.
///
/// Nothing is read beyond the header: the rest belongs to TLS, or to libmicrohttpd.
final class ProxyGreetings {
  /// Takes over a connection whose peer is known.
  typealias Handler = (_ socket: AcceptedSocket, _ isTLS: Bool) -> Void

  private let loop: EventLoop
  private let proxies: TrustedProxies
  /// How long a header may take, in milliseconds.
  private let limit: UInt64
  private let logger: Logger
  private let handler: Handler
  private let hasGone: () -> Void
  private var waiting: [ObjectIdentifier: Greeting] = [:]

  /// How many connections wait.
  var count: Int { waiting.count }

  /// - Parameters:
  ///   - proxies: the trusted proxies; connections of others are closed.
  ///   - handler: takes over a connection once its peer is known.
  ///   - hasGone: called when a connection is no longer counted here.
  init(
    loop: EventLoop, proxies: TrustedProxies, limit: UInt64, logger: Logger, handler: @escaping Handler,
    hasGone: @escaping () -> Void
  ) {
    self.loop = loop
    self.proxies = proxies
    self.limit = limit
    self.logger = logger
    self.handler = handler
    self.hasGone = hasGone
  }

  /// Takes over a connection and waits for its header.
  func accept(_ socket: AcceptedSocket, isTLS: Bool) {
    guard proxies.contains(socket.peer.ipAddress) else {
      logger.debug("\(Peer(socket.peer.ipAddress)): a proxy that is not trusted (--trusted-proxies)")
      Glibc.close(socket.descriptor)
      return hasGone()
    }
    guard let greeting = try? Greeting(socket, isTLS: isTLS, loop: loop, limit: limit, owner: self) else {
      Glibc.close(socket.descriptor)
      return hasGone()
    }
    waiting[ObjectIdentifier(greeting)] = greeting
    greeting.read()
  }

  /// Closes all connections.
  func close() {
    for greeting in waiting.values { greeting.close() }
    waiting = [:]
  }

  fileprivate func complete(_ greeting: Greeting, _ source: ProxyGreeting.Source) {
    // Kept alive until this method returns: one of its methods is running.
    guard let greeting = waiting.removeValue(forKey: ObjectIdentifier(greeting)) else { return }
    greeting.stop()
    let peer: SocketAddress =
      switch source {
      case .proxy: greeting.socket.peer
      case .local: SocketAddress(nil, port: 0)
      case .address(let address, let port): SocketAddress(address, port: port)
      }
    handler(
      AcceptedSocket(greeting.socket.descriptor, peer: peer, greetingSize: greeting.size), greeting.isTLS)
    // The connection no longer counts here, and may have been closed right away.
    hasGone()
  }

  fileprivate func fail(_ greeting: Greeting, _ reason: StaticString) {
    guard let greeting = waiting.removeValue(forKey: ObjectIdentifier(greeting)) else { return }
    logger.debug("\(Peer(greeting.socket.peer.ipAddress)): \(reason)")
    greeting.close()
    hasGone()
  }
}

/// One connection, until its header has come.
private final class Greeting {
  let socket: AcceptedSocket
  let isTLS: Bool
  private unowned let owner: ProxyGreetings
  private var bytes: [UInt8] = []
  /// How many bytes of the header have come.
  var size: Int { bytes.count }
  private var watcher: SocketWatcher?
  private var timer: LoopTimer?

  /// - Throws: `LoopError` if the connection cannot be watched. Then it still belongs to the caller.
  init(
    _ socket: AcceptedSocket, isTLS: Bool, loop: EventLoop, limit: UInt64, owner: ProxyGreetings
  ) throws(LoopError) {
    self.socket = socket
    self.isTLS = isTLS
    self.owner = owner
    watcher = try SocketWatcher(loop: loop, descriptor: socket.descriptor) { [unowned self] _ in read() }
    watcher?.watch(.readable)
    timer = LoopTimer(loop: loop) { [unowned self] in owner.fail(self, "no header of the PROXY protocol in time") }
    timer?.start(after: limit)
  }

  /// Reads the bytes of the header from the system, and no others.
  func read() {
    let known = bytes.count
    let (count, result) = withUnsafeTemporaryAllocation(byteCount: ProxyGreeting.longest, alignment: 1) { buffer in
      buffer.copyBytes(from: bytes)
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[known...])
      let count = recv(socket.descriptor, rest.baseAddress, rest.count, SocketConstants.peek)
      guard count > 0 else { return (count, ProxyGreeting.incomplete) }
      let all = UnsafeRawBufferPointer(rebasing: buffer[..<(known + count)])
      let result = ProxyGreeting(all)
      let end = if case .complete(_, let length) = result { length } else { all.count }
      // The bytes that were only peeked at are still there.
      recv(socket.descriptor, rest.baseAddress, max(0, end - known), 0)
      bytes = Array(all[..<end])
      return (count, result)
    }
    guard count > 0 else {
      if count == 0 || (errno != EAGAIN && errno != EINTR) { owner.fail(self, "closed before its PROXY header") }
      return
    }
    switch result {
    case .incomplete: break
    case .complete(let source, _): owner.complete(self, source)
    case .malformed: owner.fail(self, "a malformed header of the PROXY protocol")
    }
  }

  /// Gives up the connection.
  func stop() {
    timer = nil
    watcher?.watch([])
    watcher = nil
  }

  func close() {
    stop()
    Glibc.close(socket.descriptor)
  }
}
