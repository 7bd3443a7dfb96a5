internal import CMicrohttpd
package import EventLoop
import Glibc
package import Logging
package import TLS

/// One shard's HTTP/1.1 server: a libmicrohttpd daemon that the shard's loop runs. Belongs to that loop.
///
/// The server accepts the connections of all listeners itself, and gives them to the one daemon. A connection with TLS
/// goes through a ``TLSTermination`` of its own.
///
/// Follows the libmicrohttpd manual, "External event loop" with epoll: the daemon has an epoll set, which the loop
/// watches. libmicrohttpd is edge-triggered inside: after each run, and each time that a connection is resumed, it must
/// run again for as long as it says that it has work to do.
package final class HTTPServer {
  /// The limits of a server.
  package struct Limits: Sendable {
    /// How large a body may be, in bytes: as etcd's default (1.5 MiB) in base64, a third of whose characters may be
    /// slashes, which some clients escape.
    package var requestBytes = 2816 << 10
    /// The same with the flag that sets it: the limit of bodies whose handlers set none.
    var body: BodyLimit { BodyLimit(bytes: requestBytes, flag: "--max-request-bytes") }
    /// How large the request line and the headers may be together, in bytes.
    package var headerBytes = 16 << 10
    /// How many connections may be open.
    package var connections = 10_000
    /// How many of them each address may have, counted over all servers; nil for any number.
    package var addresses: AddressCounts?
    /// How many descriptors clients may use.
    package var descriptors = Int.max
    /// The seconds without a request, or without progress of one, after which a connection is closed.
    package var idleTimeout: UInt32 = 120
    /// How long clients may take to send their requests.
    package var clock = RequestClock.Limits()
    /// How long a TLS handshake may take, in milliseconds, and how long a client may take nothing of the bytes that are
    /// left for it at the end of its TLS connection.
    package var tls = TLSTerminations.Limits()
    /// The proxies that may name the clients of their requests.
    package var proxies = TrustedProxies()

    /// How many bytes libmicrohttpd may use for the head and the buffers of a connection. It fills them with zeros
    /// after each request, one and a half times, so it gets no more than a head of the limit needs. With the highest
    /// limit they are 32 KiB: more would not come from `malloc`, but be mapped and unmapped for each connection.
    var connectionMemory: Int { (headerBytes + Self.memoryBesideHead + 1023) & ~1023 }
    /// For libmicrohttpd's notes of the fields (56 bytes each), the head of the answer, and the rest of a head that
    /// exceeds the limit.
    private static let memoryBesideHead = 8 << 10

    package init() {}
  }

  let limits: Limits
  /// The origins whose pages may read answers.
  let origins: AllowedOrigins
  /// The connections that were taken over.
  let sockets: TakenOverConnections
  /// The bytes that are kept for clients.
  let memory: MemoryAccount
  /// Handles the requests. Invariant: the service owns the server. Unsafe, as it is used often.
  unowned(unsafe) let service: any HTTPService
  let logger: Logger
  let loop: EventLoop
  let clock: RequestClock
  private var daemon: OpaquePointer!
  private var acceptor: Acceptor?
  package private(set) var terminations: TLSTerminations?
  private var greetings: ProxyGreetings?
  /// The connections that libmicrohttpd was given and has not reported yet, by their descriptors. It reports each from
  /// within `MHD_add_connection`, so that there is one at most.
  private var arriving: [Int32: ClientConnection] = [:]
  /// Whether ``warn(_:)`` has logged already.
  private var hasWarned = false
  private var watcher: SocketWatcher?
  /// Whether libmicrohttpd has something to do before the loop may wait.
  package private(set) var needsRun = true
  private let trimmer: MemoryTrimmer
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in needsRun = true }
  private lazy var refusals = RejectedConnections(
    sockets: sockets, counts: limits.addresses, service: service, logger: logger)
  /// Whether every answer is the last of its connection.
  package private(set) var isDraining = false
  package private(set) var connectionCount = 0
  /// How many of them have had no request yet.
  private var newcomerCount = 0
  /// How many connections libmicrohttpd was given, and how many were refused.
  package private(set) var acceptedCount: UInt64 = 0
  package private(set) var refusedCount: UInt64 = 0
  /// How many requests are under way.
  package private(set) var exchangeCount = 0
  private var heads = HeadsUnderWay()
  private var requestNumbers = UniqueNumbers()
  /// At an address that does not change, as libmicrohttpd keeps it until its end.
  private let listener = UnsafeMutablePointer<answer_listener>.allocate(capacity: 1)
  /// Whether libmicrohttpd parses laxly (``HTTPLibrary/isLax``).
  let isLax = HTTPLibrary.loaded.isLax
  /// Connections that libmicrohttpd has given up during its run, and sockets that will never get theirs.
  private var takeovers: [Takeover] = []
  /// How many connections libmicrohttpd was told to give up and still has.
  private var awaitedTakeovers = 0
  /// How often libmicrohttpd has run.
  private(set) var runCount: UInt64 = 0
  private var isStopping = false

  /// Serves connections that come in on `listeners`.
  ///
  /// - Parameters:
  ///   - listeners: listening sockets, which the server takes over.
  ///   - tls: the context of TLS connections; nil if no listener has TLS.
  ///   - origins: the origins whose pages may read answers.
  ///   - sockets: takes over connections from libmicrohttpd.
  ///   - memory: counts the bytes that are kept for clients.
  ///   - trimmer: gets the number of connections.
  ///   - service: handles the requests; it must live as long as the server.
  package init(
    loop: EventLoop, listeners: [Listener], tls: RenewableTLSContext?, limits: Limits, origins: AllowedOrigins,
    sockets: TakenOverConnections, memory: MemoryAccount, trimmer: MemoryTrimmer, service: any HTTPService,
    logger: Logger
  ) throws {
    self.loop = loop
    clock = RequestClock(loop: loop, limits: limits.clock)
    self.limits = limits
    self.origins = origins
    self.sockets = sockets
    self.memory = memory
    self.trimmer = trimmer
    self.service = service
    self.logger = logger
    let context = Unmanaged.passUnretained(self).toOpaque()
    listener.initialize(to: answer_listener(callback: libraryAnswers, context: context))
    let options = [
      // This option is first: libmicrohttpd logs to standard error until it has read it.
      listener_option(listener),
      MHD_OptionItem(option: .STRICT_FOR_CLIENT, value: HTTPLibrary.loaded.strictness, ptr_value: nil),
      MHD_OptionItem(
        option: .URI_LOG_CALLBACK, value: unsafeBitCast(targetReceived, to: Int.self), ptr_value: context),
      MHD_OptionItem(option: .CONNECTION_LIMIT, value: limits.connections, ptr_value: nil),
      MHD_OptionItem(option: .CONNECTION_TIMEOUT, value: Int(limits.idleTimeout), ptr_value: nil),
      MHD_OptionItem(option: .CONNECTION_MEMORY_LIMIT, value: limits.connectionMemory, ptr_value: nil),
      MHD_OptionItem(
        option: .NOTIFY_COMPLETED, value: unsafeBitCast(completed, to: Int.self), ptr_value: context),
      MHD_OptionItem(
        option: .NOTIFY_CONNECTION, value: unsafeBitCast(connectionChanged, to: Int.self),
        ptr_value: context),
      // Keys and paths are arbitrary bytes: only the router decodes them.
      MHD_OptionItem(
        option: .UNESCAPE_CALLBACK, value: unsafeBitCast(keepEscapes, to: Int.self), ptr_value: nil),
      MHD_OptionItem(option: .END, value: 0, ptr_value: nil),
    ]
    // `MHD_USE_TURBO` omits the shutdown(2) before a socket is closed, which would end connections that are taken over,
    // as they use a second descriptor of the socket.
    let flags = [
      MHD_USE_EPOLL, MHD_USE_NO_LISTEN_SOCKET, MHD_ALLOW_SUSPEND_RESUME, MHD_ALLOW_UPGRADE, MHD_USE_TURBO,
      MHD_USE_ERROR_LOG,
    ]
    daemon = start_daemon(flags.reduce(Self.noThreadSafety) { $0 | $1.rawValue }, access, context, options)
    guard daemon != nil else { throw LoopError(-errno) }
    watcher = try SocketWatcher(loop: loop, descriptor: daemon_epoll_descriptor(daemon)) { [unowned self] _ in
      needsRun = true
    }
    watcher?.watch(.readable)
    terminations = tls.map {
      TLSTerminations(loop: loop, context: $0, limits: limits.tls, server: self, logger: logger)
    }
    sockets.whenGone = { [unowned self] in connectionHasGone() }
    if listeners.contains(where: \.isProxied) {
      greetings = ProxyGreetings(loop: loop, proxies: limits.proxies, limit: limits.tls.handshake, logger: logger) {
        [unowned self] socket, isTLS in
        accept(socket, isTLS: isTLS)
      } hasGone: { [unowned self] in
        connectionHasGone()
      }
    }
    acceptor = try Acceptor(loop: loop, listeners: listeners, logger: logger) { [unowned self] in
      hasRoom
    } handler: { [unowned self] socket, listener in
      guard listener.isProxied, let greetings else {
        return accept(socket, isTLS: listener.isTLS, isAdmin: listener.isAdmin)
      }
      greetings.accept(socket, isTLS: listener.isTLS)
    }
  }

  /// `MHD_USE_NO_THREAD_SAFETY`. 0.9.75 does not know this flag and ignores it. From 1.0.0 on, without this flag,
  /// `MHD_add_connection` only queues a connection.
  private static let noThreadSafety: UInt32 = 1 << 19

  deinit { listener.deallocate() }

  /// Lets libmicrohttpd run if it has something to do. If ``needsRun`` is true after that, it has more.
  package func turn() {
    if needsRun {
      needsRun = false
      runCount &+= 1
      MHD_run(daemon)
      completeTakeovers()
    }
    var timeout: CUnsignedLongLong = 0
    if MHD_get_timeout(daemon, &timeout) == .YES {
      if timeout == 0 {
        needsRun = true
      } else if !timer.isActive {
        // Timeouts only move later, so that a timer that is already set is early at worst.
        timer.start(after: UInt64(timeout))
      }
    }
  }

  private func completeTakeovers() {
    if awaitedTakeovers > 0 {
      awaitedTakeovers = 0
      warn("it has kept a connection that it was told to let go of")
    }
    guard !takeovers.isEmpty else { return }
    let ready = takeovers
    takeovers = []
    for takeover in ready { takeover.complete() }
  }

  /// Continues in the next turn, before which the loop serves everything else that is ready.
  package func comeBack() { timer.start(after: 0) }

  /// Continues serving, but closes each connection after its next answer, so that clients open others elsewhere.
  package func announceEnd() { isDraining = true }

  /// Accepts no more connections, except those that wait already. Each open one is closed after its next answer.
  package func beginDraining() {
    isDraining = true
    acceptor?.finish()
  }

  /// Whether there are connections that have had no request yet.
  package var hasNewcomers: Bool { newcomerCount + (terminations?.unservedCount ?? 0) > 0 }

  /// A connection has its first request.
  func newcomerHasCome() { newcomerCount -= 1 }

  /// Whether answers are still on their way through TLS connections. The system has all others as soon as they are
  /// written.
  package var hasUnsentAnswers: Bool { terminations?.hasUnsent ?? false }

  /// Closes all connections. No exchange may be suspended.
  package func stop() {
    isStopping = true
    acceptor?.close()
    greetings?.close()
    timer.stop()
    clock.stop()
    watcher?.watch([])
    watcher = nil
    MHD_stop_daemon(daemon)
    completeTakeovers()
    sockets.close()
    terminations?.close()
  }

  /// Makes libmicrohttpd process a connection in each of its runs, before it reads or writes anything, until
  /// ``neglect(_:)``. Not to be called while the connection is suspended.
  ///
  /// In epoll mode each run goes through all connections whose timeout differs from the daemon's, and lets each
  /// continue from where it is (`MHD_epoll`, "Connections with custom timeouts must all be looked at"; 0.9.75 and 1.0.1
  /// alike).
  func attend(_ connection: OpaquePointer) { set_timeout(connection, limits.idleTimeout + 1) }

  /// The same, and has libmicrohttpd run again before the loop waits.
  func attendSoon(_ connection: OpaquePointer) {
    attend(connection)
    needsRun = true
  }

  func neglect(_ connection: OpaquePointer) { set_timeout(connection, limits.idleTimeout) }

  /// Makes libmicrohttpd read a connection in its next run, even if it knows of no bytes there: it takes a resumed
  /// connection for ready. Does nothing if the connection is suspended. Not to be called while libmicrohttpd runs.
  func wake(_ connection: OpaquePointer) {
    guard is_suspended(connection) == 0 else { return }
    MHD_suspend_connection(connection)
    resume(connection)
  }

  /// Makes libmicrohttpd ignore a connection until ``resume(_:)``. Not to be called while libmicrohttpd runs.
  func suspend(_ connection: OpaquePointer) { MHD_suspend_connection(connection) }

  func resume(_ connection: OpaquePointer) {
    MHD_resume_connection(connection)
    needsRun = true
  }

  /// Lets libmicrohttpd run again before the loop waits.
  func needsRunSoon() { needsRun = true }

  /// Notifies a socket, after the current run of libmicrohttpd, that it will never get its connection.
  func hasGone(_ socket: TakenOverConnection) { takeovers.append(Takeover(gone: socket)) }

  // MARK: - Connections

  /// Whether another connection may be accepted. Those that libmicrohttpd does not have yet, or no longer has, count as
  /// well. A termination has two descriptors of its own, beside the one that is served.
  private var hasRoom: Bool {
    let unserved = (terminations?.unservedCount ?? 0) + (greetings?.count ?? 0)
    guard connectionCount + unserved + sockets.partingCount < limits.connections else { return false }
    return connectionCount + sockets.count + unserved + 2 * (terminations?.count ?? 0) < limits.descriptors
  }

  /// A connection has gone: there may be room again.
  func connectionHasGone() {
    acceptor?.resume()
    if trimmer.connections.fall(to: connectionsInMemory) { trimmer.trimSoon() }
  }

  /// How many connections there are, including those whose handshake is under way.
  private var connectionsInMemory: Int { connectionCount + (terminations?.unservedCount ?? 0) }

  private func accept(_ socket: AcceptedSocket, isTLS: Bool, isAdmin: Bool = false) {
    let place: AddressCounts.Place?
    switch limits.addresses?.admit(socket.peer) ?? .unlimited {
    case .unlimited: place = nil
    case .admitted(let admitted): place = admitted
    case .refused:
      refusedCount &+= 1
      return refusals.refuse(socket, isTLS: isTLS)
    }
    if isTLS {
      terminations?.accept(socket, place: place)
      trimmer.connections.rise(to: connectionsInMemory)
    } else {
      _ = serve(socket, place: place, isAdmin: isAdmin)
    }
  }

  /// Gives a connection to libmicrohttpd, which closes it in any case.
  ///
  /// - Parameters:
  ///   - termination: the TLS termination that carries it, if it is one end of a pair.
  ///   - place: the connection's place among those of its address, if it is counted there.
  ///   - isAdmin: whether it came in on a listener that serves only metrics and probes.
  /// - Returns: whether libmicrohttpd serves the connection.
  func serve(
    _ socket: AcceptedSocket, through termination: TLSTermination? = nil, place: AddressCounts.Place? = nil,
    isAdmin: Bool = false
  ) -> Bool {
    needsRun = true
    let descriptor = socket.descriptor
    arriving[descriptor] = ClientConnection(
      server: self, descriptor: descriptor, peer: socket.peer, greetingSize: socket.greetingSize,
      termination: termination, place: place, isAdmin: isAdmin)
    let isServed = socket.peer.withPointer { MHD_add_connection(daemon, descriptor, $0, $1) } == .YES
    // A connection that is still there has only been queued.
    if isServed && !arriving.isEmpty { warn("it does not take a connection at once") }
    if !isServed { arriving.removeValue(forKey: descriptor)?.close() }
    return isServed
  }

  /// Logs, once, that libmicrohttpd does not do what the gateway relies on.
  func warn(_ what: String) {
    guard !hasWarned else { return }
    hasWarned = true
    logger.error("libmicrohttpd \(String(cString: MHD_get_version())) does not do what the gateway relies on: \(what)")
  }

  /// libmicrohttpd is being told to give up a connection, which it does before its run ends.
  func awaitTakeover() { awaitedTakeovers += 1 }

  // MARK: - Requests

  /// The head of a request has come by a connection, which keeps the exchange until ``end(_:well:)``.
  package func begin(_ line: RequestLine, by connection: some RequestConnection) -> Exchange {
    exchangeCount += 1
    return Exchange(line, by: connection, server: self)
  }

  /// The connection has finished with a request.
  ///
  /// - Parameter well: whether the whole answer was sent.
  package func end(_ exchange: Exchange, well: Bool) {
    exchangeCount -= 1
    exchange.completed(well: well)
  }

  /// The number for the ID of the next request that has none.
  func nextRequestNumber() -> UInt64 { requestNumbers.next() }

  // MARK: - From libmicrohttpd

  /// The request line has come.
  fileprivate func received(_ target: UnsafePointer<CChar>, _ connection: OpaquePointer) {
    connection_context(connection).withObject(ClientConnection.self) { client in
      let received = ReceivedTarget(hidingQueryOf: target)
      client.target = received
      if isLax { client.seeLineEnds(from: received.lineEnd) }
      heads.insert(client)
    }
  }

  fileprivate func begin(
    _ connection: OpaquePointer, method: UnsafePointer<CChar>, version: UnsafePointer<CChar>
  ) -> Exchange {
    let client = Unmanaged<ClientConnection>.fromOpaque(connection_context(connection)).takeUnretainedValue()
    let head = HeadBytes(method, request_header_size(connection))
    client.has(head: head)
    heads.remove(client)
    let target = client.target?.restored() ?? HeadBytes(start: nil, count: 0)
    client.target = nil
    let line = RequestLine(
      method: HeadBytes(method, strlen(method)), target: target, version: HeadBytes(version, strlen(version)),
      head: head, lineEnds: isLax ? client.lineEndsOfHead : nil)
    return begin(line, by: client)
  }

  /// libmicrohttpd is about to answer by itself.
  fileprivate func answers(_ status: UInt32) {
    guard let client = heads.whole else { return }
    heads.remove(client)
    LibraryAnswer(status: status, number: nextRequestNumber()).send(to: client, of: service)
  }

  fileprivate func connectionBegan(_ connection: OpaquePointer) -> ClientConnection {
    connectionCount += 1
    acceptedCount &+= 1
    trimmer.connections.rise(to: connectionsInMemory)
    let descriptor = connection_descriptor(connection)
    let client =
      arriving.removeValue(forKey: descriptor)
      ?? ClientConnection(
        server: self, descriptor: descriptor, peer: nil, greetingSize: 0, termination: nil, place: nil)
    client.begin(connection)
    newcomerCount += 1
    return client
  }

  /// The answer to bytes that do not even begin a request.
  private var noRequest: BareAnswer { BareAnswer(service.response(to: RequestError(400, HeadCheck.malformedLine))) }

  fileprivate func connectionEnded(_ client: ClientConnection) {
    heads.remove(client)
    if client.takeover == nil && !client.hasParted && !isStopping {
      if client.isUnanswered {
        client.takeover = Takeover(.parting(sockets, with: noRequest), of: client)
      } else if client.mayBeSending(afterRun: runCount) {
        // libmicrohttpd has probably answered by itself: the client must be able to read that.
        let socket = TakenOverConnection(sockets, delegate: nil)
        socket.finish()
        client.takeover = Takeover(socket, of: client)
      }
    }
    if client.isNew { newcomerCount -= 1 }
    client.close()
    if client.isBeingTakenOver { awaitedTakeovers -= 1 }
    if let takeover = client.takeover { takeovers.append(takeover) }
    connectionCount -= 1
    connectionHasGone()
  }
}

// MARK: - Callbacks: recover the object, call one method

private typealias AccessHandler =
  @convention(c) (
    UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<CChar>?,
    UnsafePointer<CChar>?, UnsafeMutablePointer<Int>?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?
  ) -> MHD_Result

/// `MHD_AccessHandlerCallback`. The context of a request is its exchange, retained until it is completed.
private let access: AccessHandler = { server, connection, _, method, version, body, size, context in
  if let exchange = context!.pointee {
    return exchange.withObject(Exchange.self) { exchange in
      let count = size!.pointee
      guard count > 0 else { return exchange.proceed() ? .YES : .NO }
      size!.pointee = 0
      return exchange.receive(UnsafeRawBufferPointer(start: body, count: count)) ? .YES : .NO
    }
  }
  return server!.withObject(HTTPServer.self) { server in
    let exchange = server.begin(connection!, method: method!, version: version!)
    context!.pointee = Unmanaged.passRetained(exchange).toOpaque()
    return exchange.begin() ? .YES : .NO
  }
}

/// `LogCallback` of `MHD_OPTION_URI_LOG_CALLBACK`. Its result is the context with which ``access`` begins.
private let targetReceived:
  @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<CChar>?, OpaquePointer?) -> UnsafeMutableRawPointer? = {
    server, target, connection in
    guard let target, let connection else { return nil }
    server!.withObject(HTTPServer.self) { $0.received(target, connection) }
    return nil
  }

/// The callback of `answer_listener`.
private let libraryAnswers: @convention(c) (UnsafeMutableRawPointer?, CUnsignedInt) -> Void = { server, status in
  Unmanaged<HTTPServer>.fromOpaque(server!).takeUnretainedValue().answers(status)
}

/// `MHD_RequestCompletedCallback`.
private let completed:
  @convention(c) (
    UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    MHD_RequestTerminationCode
  ) -> Void = { server, _, context, code in
    guard let exchange = context!.pointee else { return }
    context!.pointee = nil
    server!.withObject(HTTPServer.self) { server in
      server.end(
        Unmanaged<Exchange>.fromOpaque(exchange).takeRetainedValue(), well: code == .REQUEST_TERMINATED_COMPLETED_OK)
    }
  }

/// `MHD_NotifyConnectionCallback`. The context of a socket is its ``ClientConnection``, retained until the socket is
/// closed.
private let connectionChanged:
  @convention(c) (
    UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    MHD_ConnectionNotificationCode
  ) -> Void = { server, connection, context, change in
    let server = Unmanaged<HTTPServer>.fromOpaque(server!).takeUnretainedValue()
    if change == .CONNECTION_NOTIFY_STARTED {
      context!.pointee = Unmanaged.passRetained(server.connectionBegan(connection!)).toOpaque()
    } else if let client = context!.pointee {
      context!.pointee = nil
      server.connectionEnded(Unmanaged<ClientConnection>.fromOpaque(client).takeRetainedValue())
    }
  }

/// `UnescapeCallback`.
private let keepEscapes:
  @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafeMutablePointer<CChar>?) -> Int = { _, _, text in
    strlen(text!)
  }
