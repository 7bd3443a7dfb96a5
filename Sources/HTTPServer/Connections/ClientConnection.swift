import EventLoop
import Glibc

/// A client's connection, from accept to close. libmicrohttpd pays no attention to a connection while its request is
/// suspended: this object watches the socket, so that a client who leaves is noticed at once.
final class ClientConnection: Attended {
  /// A client that has closed its side may still read, but most have left: what has no end of its own ends after so
  /// many milliseconds.
  private static let grace: UInt64 = 500
  /// How often a client that has closed its side is looked at, times ``grace``, before an answer that comes by itself
  /// is given up: a client that has left for good cannot be told from one that reads on until something is sent.
  private static let patience = 10

  /// How long a client that is too slow may take to read so, in milliseconds, whatever it still sends.
  private static let lastWord: UInt64 = 5000

  let descriptor: Int32
  // Invariant: libmicrohttpd closes every connection before the server goes. Without a count, as it is read many times.
  private unowned(unsafe) let server: HTTPServer
  /// Its place among the connections of its address, if these are counted for this one.
  fileprivate private(set) var place: AddressCounts.Place?
  /// The client's address; nil over a Unix socket.
  let address: IPAddress?
  /// Whether it came in where only metrics and probes are served (`--admin-listen`).
  let isAdmin: Bool
  /// Whether it is known where the connection comes from.
  let isPeerKnown: Bool
  /// libmicrohttpd's connection, from ``begin(_:)`` to ``close()``.
  private(set) var connection: OpaquePointer?
  private var watcher: SocketWatcher?
  private var timer: LoopTimer?
  /// The request under way. It takes itself out before it goes.
  unowned(unsafe) var exchange: Exchange?
  /// The connection's future, where it is taken over once libmicrohttpd is done with it.
  var takeover: Takeover?
  /// Whether libmicrohttpd was told to let go of it.
  private(set) var isBeingTakenOver = false
  /// What has the client read why its connection ends, while libmicrohttpd leaves it alone.
  private var parting: TakenOverConnection?
  /// How many bytes came before those of the client.
  private let greetingSize: Int
  /// What carries the connection, if it is a TLS connection.
  let termination: TLSTermination?
  /// The target of the request whose head is on its way.
  var target: ReceivedTarget?
  /// Where it is in ``HeadsUnderWay``.
  var placeAmongHeads: Int?
  /// In which of libmicrohttpd's runs the last request had all of its answer sent.
  private var lastAnswer: UInt64 = 0
  /// How often to look again for a client that has closed its side.
  private var looksLeft = ClientConnection.patience

  /// Whether the client has to wait with more of a request's body.
  var isHeldBack: Bool { exchange?.isHeldBack ?? false }

  // What the clock goes by.

  /// Whether it is among those that the clock looks at.
  var isAttended = false
  /// When the head began that is on its way, in the loop's milliseconds.
  private var headSince: UInt64?
  /// Whether there was no request yet.
  private(set) var isNew = true
  private var isClosed = false
  private var isCut = false
  /// How many requests there were, and how many when the clock last looked.
  private var requestCount: UInt64 = 0
  private var seenCount: UInt64 = 0
  /// When the clock last saw another request, in the loop's milliseconds.
  private var seenAt: UInt64 = 0
  /// How long a connection is idle, in milliseconds, before it gives memory back: using that again costs a request some
  /// microseconds.
  private static let rest: UInt64 = 5000
  /// libmicrohttpd's memory of the connection, from the first request on, if it was found.
  private var pool: ConnectionPool?

  /// - Parameters:
  ///   - peer: the client's address.
  ///   - greetingSize: how many bytes came before those of the client.
  ///   - termination: what carries the connection, if it is a TLS connection.
  ///   - place: its place among the connections of its address, if these are counted for this one.
  ///   - isAdmin: whether it came in where only metrics and probes are served.
  init(
    server: HTTPServer, descriptor: Int32, peer: SocketAddress?, greetingSize: Int, termination: TLSTermination?,
    place: AddressCounts.Place?, isAdmin: Bool = false
  ) {
    self.server = server
    self.isAdmin = isAdmin
    self.greetingSize = greetingSize
    self.descriptor = descriptor
    address = peer?.ipAddress
    isPeerKnown = peer != nil
    self.termination = termination
    self.place = place
    termination?.client = self
  }

  /// libmicrohttpd has taken the connection.
  func begin(_ connection: OpaquePointer) {
    self.connection = connection
    // Without a watcher (no memory in the kernel) the connection works; only the client's leave is noticed late.
    watcher = try? SocketWatcher(loop: server.loop, descriptor: descriptor) { [unowned self] in ready($0) }
    watcher?.watch(.disconnect)
    // The socket's own kind: the client may be another than the proxy at its other end.
    if SocketAddress(localOf: descriptor).family == AF_UNIX && termination == nil && !hasUnread {
      // Of these the system does not say later whether anything has come.
      awaitBytes()
    } else {
      headSince = server.loop.now
      server.clock.attend(self)
    }
  }

  private var hasUnread: Bool {
    var byte: UInt8 = 0
    return recv(descriptor, &byte, 1, SocketConstants.peek | SocketConstants.dontWait) > 0
  }

  /// The head of a request is complete.
  ///
  /// - Parameter line: where it begins.
  func hasHead(at line: UnsafePointer<CChar>) {
    headSince = nil
    if isNew {
      server.newcomerHasCome()
      pool = ConnectionPool(startingAt: line, size: HTTPServer.Limits.connectionMemory)
    }
    isNew = false
    requestCount &+= 1
    hasMadeProgress()
    server.clock.attend(self)
  }

  /// A client that has closed its side is still being served.
  func hasMadeProgress() { looksLeft = Self.patience }

  /// A request is over.
  ///
  /// - Parameter isAnswered: whether all of its answer was sent.
  func hasEnded(isAnswered: Bool) {
    if isAnswered { lastAnswer = server.runCount }
    server.clock.attend(self)
  }

  /// Lets go of the socket, which is about to be closed.
  func close() {
    isClosed = true
    connection = nil
    // The clock may have it a little longer.
    place = nil
    termination?.client = nil
    watcher?.watch([])
    watcher = nil
    timer = nil
  }

  /// Ends the connection now, without another word: libmicrohttpd finds it closed.
  func cut() {
    isCut = true
    shutdown(descriptor, SocketConstants.shutBoth)
  }

  /// Has the connection taken over once libmicrohttpd has let go of it, which it is about to be told to do.
  ///
  /// - Returns: false if the system has no descriptor left for that now.
  func beTakenOver(by socket: TakenOverConnection) -> Bool {
    let takeover = Takeover(socket, of: self)
    guard takeover.descriptor >= 0 else { return false }
    self.takeover = takeover
    isBeingTakenOver = true
    server.awaitTakeover()
    return true
  }

  /// Whether libmicrohttpd closes the connection though the client has not, and may still be sending: closed with bytes
  /// that were not read it is reset, and the client loses an answer that it has yet to read (RFC 9112, section 9.6).
  ///
  /// - Parameter run: the run of libmicrohttpd that is not over yet.
  func mayBeSending(afterRun run: UInt64) -> Bool {
    // The other end of a pair is looked after by its termination.
    guard termination == nil else { return false }
    var byte: UInt8 = 0
    let count = recv(descriptor, &byte, 1, SocketConstants.peek | SocketConstants.dontWait)
    if count > 0 { return true }
    return count < 0 && errno == EAGAIN && lastAnswer != run
  }

  /// Whether the client has sent something, none of which is a request, waits, and nothing was ever sent to it:
  /// libmicrohttpd closes a connection without a word if there is no blank in the request line. Of Unix sockets the
  /// system does not say.
  var isUnanswered: Bool {
    var byte: UInt8 = 0
    guard isNew, recv(descriptor, &byte, 1, SocketConstants.peek | SocketConstants.dontWait) != 0 else { return false }
    if let termination { return termination.hasReceived && !termination.hasSent && !hasUntaken }
    return TCPCounts(descriptor).map { $0.received > UInt64(greetingSize) && $0.sent == 0 } ?? false
  }

  /// Whether something was sent that the other end has yet to take.
  private var hasUntaken: Bool {
    var waiting: Int32 = 0
    return ioctl(descriptor, UInt(TIOCOUTQ), &waiting) != 0 || waiting > 0
  }

  private func ready(_ events: SocketEvents) {
    if events.contains(.disconnect) { return hangUp() }
    // The first byte of a request, which libmicrohttpd reads in this turn.
    watcher?.watch(.disconnect)
    hasBytes()
  }

  /// Bytes of the client have come: of a request that is under way, or the first of its head.
  func hasBytes() {
    guard exchange == nil, headSince == nil else { return }
    headSince = server.loop.now
    server.clock.attend(self)
  }

  /// The client has closed its side, or all of the connection.
  private func hangUp() {
    watcher?.watch([])
    timer = LoopTimer(loop: server.loop) { [unowned self] in lookAgain() }
    timer?.start(after: isHalfOpen(descriptor) ? Self.grace : 0, every: Self.grace)
  }

  private func lookAgain() {
    if let exchange, exchange.isHeldBack {
      // All of its request may have come, and be read yet.
      if !isHalfOpen(descriptor) { exchange.clientIsGone() }
      return
    }
    looksLeft -= 1
    guard let exchange, !exchange.isReceiving else {
      // Nothing more can come of the request, which libmicrohttpd (0.9.75) now and then does not notice.
      if let connection { server.wake(connection) }
      return
    }
    if exchange.isEndless || looksLeft <= 0 || !isHalfOpen(descriptor) { exchange.clientIsGone() }
  }
}

// MARK: - Time

extension ClientConnection {
  /// Looks at what is on its way, and ends the connection if that takes too long.
  ///
  /// - Returns: false if there is nothing to look at until something happens.
  func needsAnotherLook(at now: UInt64, _ limits: RequestClock.Limits) -> Bool {
    guard !isClosed else { return false }
    if let parting {
      if parting.isClosed { endParting() }
      return self.parting != nil
    }
    guard timer == nil else { return false }
    if let exchange {
      guard exchange.isReceiving else { return false }
      guard exchange.isTooSlow(at: now, limits) else { return true }
      guard exchange.early == nil else {
        // It breaks off: there is no room in it for another answer.
        exchange.abandon()
        cut()
        return false
      }
      let rate = limits.bodyRate
      var headers = ""
      // What a bare answer has in any case is not said twice.
      exchange.addCommonHeaders {
        if $0.isNot("X-Content-Type-Options") { headers += "\($0): \($1)\r\n" }
      }
      let answer = timeoutAnswer(
        "the body of the request comes more slowly than \(rate) bytes a second (--min-body-rate)", headers)
      exchange.abandon(answeredWith: answer)
      part(with: answer)
      return true
    }
    if let headSince {
      guard now - headSince >= limits.head else { return true }
      if isNew && !hasReceived {
        // It was made beforehand, as browsers do, and is idle.
        self.headSince = nil
        awaitBytes()
        return false
      }
      part(with: timeoutAnswer("the head of the request takes more than \(limits.head) ms (--header-timeout)"))
      return true
    }
    guard requestCount == seenCount else {
      seenCount = requestCount
      seenAt = now
      return true
    }
    awaitBytes()
    guard let pool else { return false }
    guard now - seenAt >= Self.rest else { return true }
    pool.releaseIfZero()
    return false
  }

  /// Takes note of the next byte. A connection with one request after the other goes without: it would cost each
  /// something.
  fileprivate func awaitBytes() { watcher?.watch([.disconnect, .readable]) }

  /// Whether anything has come from the client yet.
  private var hasReceived: Bool {
    termination?.hasReceived ?? TCPCounts(descriptor).map { $0.received > UInt64(greetingSize) } ?? true
  }

  /// - Parameter headers: further header lines.
  private func timeoutAnswer(_ reason: String, _ headers: String = "") -> BareAnswer {
    BareAnswer(server.service.response(to: RequestError(408, reason)), headers: headers)
  }

  /// Answers and closes the connection, on which libmicrohttpd has nothing to say while it waits for a request: it is
  /// suspended until the client, who may still be sending, has had time to read that.
  private func part(with answer: consuming BareAnswer) {
    guard let connection else { return }
    watcher?.watch([])
    server.suspend(connection)
    parting = .parting(server.sockets, with: answer, within: Self.lastWord)
    parting?.open(fcntl(descriptor, F_DUPFD_CLOEXEC, 0))
  }

  /// Whether the client has been told why its connection ends.
  var hasParted: Bool { parting != nil || isCut }

  /// Has libmicrohttpd close the connection whose client has had its time.
  func endParting() {
    guard parting != nil, let connection else { return }
    parting = nil
    cut()
    server.resume(connection)
  }
}

/// A connection that is about to change hands.
struct Takeover {
  let socket: TakenOverConnection
  /// A second descriptor of the connection, -1 if the system grants none: libmicrohttpd closes the first.
  let descriptor: Int32
  let termination: TLSTermination?
  /// Its place among the connections of its address, if these are counted for this one.
  let place: AddressCounts.Place?
  /// What the client has sent beyond its request.
  var received: [UInt8] = []

  init(_ socket: TakenOverConnection, of client: ClientConnection, received: [UInt8] = []) {
    self.socket = socket
    termination = client.termination
    place = client.place
    descriptor = fcntl(client.descriptor, F_DUPFD_CLOEXEC, 0)
    self.received = received
  }

  /// A connection that broke before it could change hands.
  init(gone socket: TakenOverConnection) {
    self.socket = socket
    termination = nil
    place = nil
    descriptor = -1
  }

  func complete() { socket.open(descriptor, termination: termination, place: place, received: received) }
}
