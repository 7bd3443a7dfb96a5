internal import CMicrohttpd
import EventLoop
import Glibc

/// A client's connection, from accept to close. libmicrohttpd ignores a connection while its request is suspended. So
/// this object watches the socket, and notices at once when the client disconnects.
final class ClientConnection: Attended {
  /// The milliseconds after which an answer that is long by design, or endless, ends if its client has closed its
  /// sending side. Such a client may still read, but most have left.
  private static let grace: UInt64 = 500
  /// How often, ``grace`` apart, a client that has closed its sending side is checked before any other answer is given
  /// up. Until something is sent, a client that has left cannot be told from one that still reads.
  private static let patience = 10

  /// The milliseconds that a client that was too slow has to read why its connection ends, whatever it still sends.
  private static let lastWord: UInt64 = 5000

  let descriptor: Int32
  // Invariant: libmicrohttpd closes every connection before the server is released. Unsafe, as it is used often.
  unowned(unsafe) let server: HTTPServer
  /// The connection's place among those of its address, if it is counted there.
  fileprivate private(set) var place: AddressCounts.Place?
  /// The client's address; nil over a Unix socket.
  let address: IPAddress?
  let isAdmin: Bool
  let isPeerKnown: Bool
  /// libmicrohttpd's connection, from ``begin(_:)`` to ``close()``.
  private(set) var connection: OpaquePointer?
  private var watcher: SocketWatcher?
  private var timer: LoopTimer?
  unowned(unsafe) var exchange: Exchange?
  /// Whether libmicrohttpd processes the connection in each of its runs, because a request awaits its answer.
  var isProcessedInEachRun = false
  /// The takeover of the connection after libmicrohttpd has closed it; nil for none.
  var takeover: Takeover?
  /// Whether libmicrohttpd was told to give the connection up.
  private(set) var isBeingTakenOver = false
  /// Sends the client the reason why its connection ends, while the connection is suspended.
  private var parting: TakenOverConnection?
  /// How many bytes came before those of the client.
  private let greetingSize: Int
  /// The TLS termination that carries the connection; nil without TLS.
  let termination: TLSTermination?
  /// The target of the request whose head is not complete yet.
  var target: ReceivedTarget?
  /// How the lines of that head end, and the run of libmicrohttpd in which that was seen.
  private var lineEnds = (seen: LineEnds.unseen, run: UInt64(0))
  /// Its index in ``HeadsUnderWay``; nil if it is not there.
  var placeAmongHeads: Int?
  /// The run of libmicrohttpd in which the last answer was completely sent.
  private var lastAnswer: UInt64 = 0
  /// How often a client that has closed its sending side is still checked.
  private var looksLeft = ClientConnection.patience

  /// Whether the client has to wait with the rest of a request's body.
  var isHeldBack: Bool { exchange?.isHeldBack ?? false }

  // For the clock.

  /// Whether it is on the clock's list.
  var isAttended = false
  /// When the head began that is not complete yet, in the loop's milliseconds; nil if there is none.
  private var headSince: UInt64?
  /// Whether no request has come yet.
  private(set) var isNew = true
  private var isClosed = false
  private var isCut = false
  /// How many requests there were, and how many at the clock's last check.
  private var requestCount: UInt64 = 0
  private var seenCount: UInt64 = 0
  /// When the clock last noticed another request, in the loop's milliseconds.
  private var seenAt: UInt64 = 0
  /// The milliseconds after which an idle connection gives memory back. The next request then costs some microseconds
  /// more.
  private static let rest: UInt64 = 5000
  /// libmicrohttpd's memory of the connection, from the first request on; nil if it was not found.
  private var pool: ConnectionPool?

  /// - Parameters:
  ///   - peer: the client's address.
  ///   - greetingSize: how many bytes came before those of the client.
  ///   - termination: the TLS termination that carries the connection; nil without TLS.
  ///   - place: the connection's place among those of its address, if it is counted there.
  ///   - isAdmin: whether it came in on a listener that serves only metrics and probes.
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
    // Without a watcher (the kernel has no memory) the connection works, but a disconnect is noticed late.
    watcher = try? SocketWatcher(loop: server.loop, descriptor: descriptor) { [unowned self] in ready($0) }
    watcher?.watch(.disconnect)
    // This is the socket's own kind: a proxy at its other end may have named a client of another kind.
    if SocketAddress(localOf: descriptor).family == AF_UNIX && termination == nil && !hasUnread {
      // For Unix sockets the system does not say later whether anything has come.
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
  /// - Parameter head: its bytes.
  func has(head: HeadBytes) {
    headSince = nil
    if isNew {
      server.newcomerHasCome()
      if let readCount {
        pool = ConnectionPool(
          beginningWith: head, after: readCount - head.count, size: server.limits.connectionMemory)
      }
    }
    isNew = false
    requestCount &+= 1
    hasMadeProgress()
    server.clock.attend(self)
  }

  /// libmicrohttpd, before 1.0, has parsed a request line.
  ///
  /// - Parameter line: where the next line begins.
  func seeLineEnds(from line: UnsafeRawPointer) {
    lineEnds = (seenLineEnds(from: line), server.runCount)
  }

  private func seenLineEnds(from line: UnsafeRawPointer) -> LineEnds {
    let end: UnsafeRawPointer?
    if isNew {
      // No more than all bytes that were read can be before this line.
      end = readCount.map { line + max(0, server.limits.connectionMemory - $0) }
    } else {
      end = pool?.end
    }
    if let end { return LineEnds(of: UnsafeRawBufferPointer(start: line, count: max(0, end - line))) }
    // Where libmicrohttpd's memory ends is not known.
    return withUnsafeTemporaryAllocation(byteCount: 8192, alignment: 1) { copy in
      LineEnds(
        of: UnsafeRawBufferPointer(
          start: copy.baseAddress, count: copy_existing_memory(copy.baseAddress, line, copy.count)))
    }
  }

  /// How the lines of the head end that is complete now. Before it parses, libmicrohttpd reads a connection once in
  /// each run: if the end was found in the run of the request line, it had come by then.
  var lineEndsOfHead: LineEnds { lineEnds.run == server.runCount ? lineEnds.seen : .unseen }

  /// Whether or not the client has closed its sending side, it is still being served.
  func hasMadeProgress() { looksLeft = Self.patience }

  func hasEnded(isAnswered: Bool) {
    if isAnswered { lastAnswer = server.runCount }
    server.clock.attend(self)
  }

  /// Releases the socket, which is about to be closed.
  func close() {
    isClosed = true
    connection = nil
    // The clock may keep this object a little longer.
    place = nil
    termination?.client = nil
    watcher?.watch([])
    watcher = nil
    timer = nil
  }

  /// Ends the connection at once. If an answer has begun, its client notices that it is incomplete.
  func cut() {
    breakOff()
    closeSocket()
  }

  /// Closes the socket, so that libmicrohttpd finds it closed.
  private func closeSocket() {
    isCut = true
    shutdown(descriptor, SocketConstants.shutBoth)
  }

  /// Prepares the takeover; false if the system grants no descriptor. The caller tells libmicrohttpd to give the
  /// connection up.
  func beTakenOver(by socket: TakenOverConnection) -> Bool {
    let takeover = Takeover(socket, of: self)
    guard takeover.descriptor >= 0 else { return false }
    self.takeover = takeover
    isBeingTakenOver = true
    server.awaitTakeover()
    return true
  }

  /// Whether libmicrohttpd closes the connection though the client has not closed it, and may still be sending. A
  /// socket that is closed with unread bytes resets the connection, and the client loses an answer that it has not read
  /// yet (RFC 9112, section 9.6).
  ///
  /// - Parameter run: the current run of libmicrohttpd.
  func mayBeSending(afterRun run: UInt64) -> Bool {
    // This socket is one end of a pair then. The termination looks after the client's.
    guard termination == nil else { return false }
    var byte: UInt8 = 0
    let count = recv(descriptor, &byte, 1, SocketConstants.peek | SocketConstants.dontWait)
    if count > 0 { return true }
    return count < 0 && errno == EAGAIN && lastAnswer != run
  }

  /// Whether the client waits for an answer, has sent only bytes that are no request, and was never sent anything:
  /// libmicrohttpd closes a connection without an answer if there is no blank in the request line. For Unix sockets the
  /// system does not say this.
  var isUnanswered: Bool {
    var byte: UInt8 = 0
    guard isNew, recv(descriptor, &byte, 1, SocketConstants.peek | SocketConstants.dontWait) != 0 else { return false }
    if let termination { return termination.receivedCount > 0 && !termination.hasSent && !hasUntaken }
    return TCPCounts(descriptor).map { $0.received > UInt64(greetingSize) && $0.sent == 0 } ?? false
  }

  /// Whether bytes were sent that the other end has not taken yet.
  private var hasUntaken: Bool {
    var waiting: Int32 = 0
    return ioctl(descriptor, UInt(TIOCOUTQ), &waiting) != 0 || waiting > 0
  }

  private func ready(_ events: SocketEvents) {
    if events.contains(.disconnect) { return hangUp() }
    // The first byte of a request has come; libmicrohttpd reads it in this turn.
    watcher?.watch(.disconnect)
    hasBytes()
  }

  /// Bytes of the client have come: of the request under way, or the first ones of a head.
  func hasBytes() {
    guard exchange == nil, headSince == nil else { return }
    headSince = server.loop.now
    server.clock.attend(self)
  }

  /// The client has closed its sending side, or the whole connection.
  private func hangUp() {
    watcher?.watch([])
    timer = LoopTimer(loop: server.loop) { [unowned self] in lookAgain() }
    timer?.start(after: isHalfOpen(descriptor) ? Self.grace : 0, every: Self.grace)
  }

  private func lookAgain() {
    if let exchange, exchange.isHeldBack {
      // The whole request may have come already, and still has to be read.
      if !isHalfOpen(descriptor) { exchange.clientIsGone() }
      return
    }
    looksLeft -= 1
    guard let exchange, !exchange.isReceiving else {
      // The rest of the request cannot come any more, which libmicrohttpd (0.9.75) sometimes does not notice.
      if let connection { server.wake(connection) }
      return
    }
    if exchange.isEndless || looksLeft <= 0 || !isHalfOpen(descriptor) { exchange.clientIsGone() }
  }
}

// MARK: - Time

extension ClientConnection {
  /// Checks what is under way, and ends the connection if that takes too long.
  ///
  /// - Returns: false if no further check is needed until something happens.
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
        // The answer has begun, and breaks off: there is no room in it for another one.
        exchange.abandon()
        cut()
        return false
      }
      let rate = limits.bodyRate
      var headers = ""
      // A bare answer has this header in any case.
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
        // The connection was opened in advance, as browsers do, and is idle.
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

  /// Asks for a notification of the next byte. If one request follows the other, the connection does without, as it
  /// would cost each request something.
  fileprivate func awaitBytes() { watcher?.watch([.disconnect, .readable]) }

  /// Whether the client has sent anything yet.
  private var hasReceived: Bool { receivedCount.map { $0 > 0 } ?? true }

  /// How many bytes the client has sent, without TLS; nil for a Unix socket, for which the system does not say this.
  private var receivedCount: UInt64? {
    termination?.receivedCount ?? TCPCounts(descriptor).map { $0.received - min($0.received, UInt64(greetingSize)) }
  }

  /// How many of these bytes libmicrohttpd has read, at most.
  fileprivate var readCount: Int? {
    var waiting: Int32 = 0
    guard let receivedCount, ioctl(descriptor, UInt(FIONREAD), &waiting) == 0 else { return nil }
    return Int(clamping: receivedCount) - Int(waiting)
  }

  /// - Parameter headers: further header lines.
  private func timeoutAnswer(_ reason: String, _ headers: String = "") -> BareAnswer {
    BareAnswer(server.service.response(to: RequestError(408, reason)), headers: headers)
  }

  /// Sends an answer and closes the connection. libmicrohttpd waits for a request, and so has nothing to send. The
  /// connection is suspended until the client, which may still be sending, has had time to read the answer.
  private func part(with answer: consuming BareAnswer) {
    guard let connection else { return }
    watcher?.watch([])
    server.suspend(connection)
    parting = .parting(server.sockets, with: answer, within: Self.lastWord)
    parting?.open(fcntl(descriptor, F_DUPFD_CLOEXEC, 0))
  }

  var hasParted: Bool { parting != nil || isCut }

  /// Makes libmicrohttpd close the connection when the client has had its time to read the answer.
  func endParting() {
    guard parting != nil, let connection else { return }
    parting = nil
    closeSocket()
    server.resume(connection)
  }
}

/// A connection that is about to be taken over.
struct Takeover {
  let socket: TakenOverConnection
  /// A second descriptor of the connection, as libmicrohttpd closes the first; -1 if the system grants none.
  let descriptor: Int32
  let termination: TLSTermination?
  /// The connection's place among those of its address, if it is counted there.
  let place: AddressCounts.Place?
  /// The bytes that the client has sent after its request.
  var received: [UInt8] = []

  init(_ socket: TakenOverConnection, of client: ClientConnection, received: [UInt8] = []) {
    self.socket = socket
    termination = client.termination
    place = client.place
    descriptor = fcntl(client.descriptor, F_DUPFD_CLOEXEC, 0)
    self.received = received
  }

  /// A connection that was lost before its takeover.
  init(gone socket: TakenOverConnection) {
    self.socket = socket
    termination = nil
    place = nil
    descriptor = -1
  }

  func complete() { socket.open(descriptor, termination: termination, place: place, received: received) }
}
