import ByteBuffers
import EventLoop
import Glibc

/// Notifies the owner of a ``TakenOverConnection``, on its shard's loop, and never from inside a method of the socket.
package protocol TakenOverConnectionDelegate: AnyObject {
  /// The client has sent bytes, valid during the call only. Before ``TakenOverConnection/startReading()`` these are
  /// only bytes that the client sent before an upgraded connection was taken over.
  func socket(_ socket: TakenOverConnection, received bytes: UnsafeRawBufferPointer)
  /// The system has taken everything that was queued.
  func socketHasRoom(_ socket: TakenOverConnection)
  /// The client's system has taken nothing for the stall limit though there is something to take, or less than it
  /// should while more is kept for clients than the budget. The owner may end the socket; otherwise it is notified
  /// again.
  ///
  /// - Parameter reason: which of the two it is, for the client.
  func socketHasStalled(_ socket: TakenOverConnection, _ reason: StaticString)
  /// The client has disconnected, or the connection could not be taken over. Nothing follows.
  func socketIsGone(_ socket: TakenOverConnection)
}

extension TakenOverConnectionDelegate {
  package func socket(_ socket: TakenOverConnection, received bytes: UnsafeRawBufferPointer) {}
}

/// A client's connection that was taken over from libmicrohttpd. Belongs to its shard's loop.
///
/// It is made before it has the connection: what is queued until then goes out with the first flush. Until it is
/// closed, the socket keeps itself and its delegate alive. An idle one is this object, a watcher, and nothing else.
package final class TakenOverConnection: Attended {
  /// Bytes on their way to the client.
  ///
  /// Invariant: they belong to `owner` and neither move nor change as long as it lives.
  private struct Piece {
    let owner: SocketBytes
    let bytes: UnsafeRawBufferPointer
  }

  /// Where the socket is between its making and its end.
  private enum Phase {
    /// libmicrohttpd still has the connection.
    case awaited
    case open
    /// The queue is sent, then nothing more.
    case finishing
    /// Everything was sent and the sending side is closed: the client has yet to close its own.
    case lingering(LingeringClose)
    case closed
  }

  /// A client that has closed its side may still read: it counts as connected while it has something to take, and for
  /// so many milliseconds more; for ``TakenOverConnections/stallLimit`` if the answer has an end, as it waits for that.
  /// A client that has closed both sides answers whatever is sent with a reset.
  static let grace: UInt64 = 500
  /// The error for a client that does not read.
  static let stall: StaticString = "the client does not read (--stall-timeout)"
  /// How many pieces are given to the system at once.
  private static let maxPieces = 16

  private unowned let sockets: TakenOverConnections
  private var delegate: (any TakenOverConnectionDelegate)?
  /// Whether it has no owner, and only sends the last answer of a connection.
  let isParting: Bool
  /// Whether the answer has no end of its own.
  private let isEndless: Bool
  private var descriptor: Int32 = -1
  private var phase = Phase.awaited
  private var watcher: SocketWatcher?
  /// The TLS termination in front of it, if there is one.
  private var termination: TLSTermination?
  /// Its place among the connections of its address, if these are counted.
  private var place: AddressCounts.Place?
  /// Its index in `sockets`.
  var slot = -1

  /// An array, not a deque: it is emptied at once far more often than it holds a second piece.
  private var queue: [Piece] = []
  /// How many pieces of the queue were sent, and how many bytes of the next one.
  private var sentPieces = 0
  private var sentBytes = 0
  /// How many bytes wait for the system to take them.
  package private(set) var backlog = 0

  /// Whether it is in the list of sockets that are flushed at the end of the turn.
  var isDirty = false
  /// Whether it is in the list of sockets that are checked from time to time.
  var isAttended = false
  /// Whether the system takes no more for now.
  private var isBlocked = false
  private var hasHalfClosed = false
  private var reads = false

  /// How many bytes the system has taken, and how many of them the client's system had taken at the last check.
  private var takenCount = 0
  private var confirmedCount = 0
  /// When the client's system last took something, or had nothing to take.
  private var lastProgress: UInt64 = 0
  /// When to check next, and when to cut at the latest.
  private(set) var nextLook: UInt64 = 0
  private var deadline = UInt64.max

  /// - Parameters:
  ///   - delegate: its owner; nil if everything is sent at once and the socket then finished.
  ///   - isEndless: whether the answer has no end of its own.
  init(_ sockets: TakenOverConnections, delegate: (any TakenOverConnectionDelegate)?, isEndless: Bool = true) {
    self.sockets = sockets
    self.delegate = delegate
    self.isEndless = isEndless
    isParting = delegate == nil
  }

  /// Makes one for the end of a connection: once opened, it sends `answer` and closes.
  ///
  /// - Parameter limit: the limit for ``finish(within:)``.
  static func parting(
    _ sockets: TakenOverConnections, with answer: consuming BareAnswer, within limit: UInt64? = nil
  ) -> TakenOverConnection {
    let socket = TakenOverConnection(sockets, delegate: nil)
    let bytes = SocketBytes(answer.release())
    socket.send(bytes.bytes, of: bytes)
    socket.finish(within: limit)
    return socket
  }

  /// The bytes that wait for the system to take them.
  var waiting: [UInt8] { Array(queue[sentPieces...].map { Array($0.bytes) }.joined().dropFirst(sentBytes)) }

  private var isAwaited: Bool { if case .awaited = phase { true } else { false } }
  private var isOpen: Bool { if case .open = phase { true } else { false } }
  var isFinishing: Bool { if case .finishing = phase { true } else { false } }
  private var isLingering: Bool { if case .lingering = phase { true } else { false } }
  var isClosed: Bool { if case .closed = phase { true } else { false } }

  // MARK: - From the owner

  /// Queues bytes that belong to `owner` and neither move nor change as long as it lives: they are not copied.
  package func send(_ bytes: UnsafeRawBufferPointer, of owner: SocketBytes) {
    guard isAwaited || isOpen, !bytes.isEmpty else { return }
    owner.count(in: sockets.memory)
    // Until now there was nothing to take: the client has not stalled, however long ago the last bytes were.
    if backlog == 0 && takenCount == confirmedCount { lastProgress = sockets.loop.now }
    queue.append(Piece(owner: owner, bytes: bytes))
    backlog += bytes.count
    if isOpen && !isBlocked { sockets.flushLater(self) }
    // A socket that waits for its client is not flushed, and may have got its room before others needed theirs.
    if isBlocked && sockets.memory.isOverdrawn { look(after: 0) }
  }

  /// Begins to read what the client sends, for ``TakenOverConnectionDelegate/socket(_:received:)``.
  package func startReading() {
    reads = true
    updateWatch()
  }

  /// Stops reading. The system then soon holds the client back.
  package func pauseReading() {
    reads = false
    updateWatch()
  }

  /// Drops everything that is queued, except the rest of a piece of which some was sent.
  ///
  /// - Returns: whether anything was ever sent.
  package func dropQueue() -> Bool {
    let isPartial = sentBytes > 0
    queue = isPartial ? [queue[sentPieces]] : []
    sentPieces = 0
    backlog = isPartial ? queue[0].bytes.count - sentBytes : 0
    return takenCount > 0
  }

  /// Closes the connection in order once everything that is queued was sent. The delegate is no longer notified.
  ///
  /// - Parameter limit: when to cut the connection at the latest, in milliseconds; by default the client has time as
  ///   long as it does not stall.
  package func finish(within limit: UInt64? = nil) {
    guard isAwaited || isOpen else { return }
    if let limit { deadline = sockets.loop.now + limit }
    guard isOpen else {
      phase = .finishing
      return
    }
    phase = .finishing
    reads = false
    if backlog == 0 { linger() } else { look(after: 0) }
  }

  /// Ends the connection now, with a reset, so that the client cannot take a part for the whole. The delegate is no
  /// longer notified.
  package func cut() {
    guard !isClosed else { return }
    termination?.cut()
    if !isAwaited {
      var reset = linger_t(l_onoff: 1, l_linger: 0)
      setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout.size(ofValue: reset)))
    }
    close()
  }

  /// Ends the connection now; in order if the client has been sent everything.
  func abandon() {
    if isLingering { close() } else { cut() }
  }

  // MARK: - From the server

  /// libmicrohttpd has released the connection.
  ///
  /// - Parameters:
  ///   - descriptor: the connection, which the socket takes over; -1 if there is none.
  ///   - termination: its TLS termination, if it has one.
  ///   - place: its place among the connections of its address, if these are counted.
  ///   - received: what the client had sent beyond its request.
  func open(
    _ descriptor: Int32, termination: TLSTermination? = nil, place: AddressCounts.Place? = nil, received: [UInt8] = []
  ) {
    guard descriptor >= 0 else { return vanish() }
    self.descriptor = descriptor
    self.termination = termination
    self.place = place
    guard !isClosed else {
      phase = .open
      return cut()
    }
    let isFinishing = isFinishing
    phase = .open
    lastProgress = sockets.loop.now
    do {
      watcher = try SocketWatcher(loop: sockets.loop, descriptor: descriptor) { [unowned self] in ready($0) }
    } catch {
      return vanish()
    }
    // Each turn's frames leave in one write: delaying them has no use (tcp(7)).
    set(Int32(TCP_NODELAY), 1)
    set(Int32(TCP_CORK), 0)
    sockets.add(self)
    updateWatch()
    if !received.isEmpty { received.withUnsafeBytes { delegate?.socket(self, received: $0) } }
    if isFinishing { finish() }
    if !isClosed && backlog > 0 { sockets.flushLater(self) }
  }

  private func set(_ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, SocketConstants.tcp, option, &value, socklen_t(MemoryLayout.size(ofValue: value)))
  }

  /// Sends as much of the queue as the system takes.
  func flush() {
    guard isOpen || isFinishing, !isBlocked else { return }
    while backlog > 0 {
      let count = write()
      guard count >= 0 else {
        if errno == EINTR { continue }
        guard errno == EAGAIN else { return vanish() }
        isBlocked = true
        updateWatch()
        break
      }
      advance(by: count)
    }
    // If the client's system does not acknowledge in time, that is a stall, too.
    look(after: sockets.lookInterval)
    guard backlog == 0 else {
      if isTooMuch { delegate?.socketHasStalled(self, MemoryAccount.shortage) }
      return
    }
    if isFinishing { linger() } else { delegate?.socketHasRoom(self) }
  }

  /// Whether more waits for the client than the budget allows. A client that keeps up has no more waiting than any
  /// connection may have.
  private var isTooMuch: Bool { isOpen && backlog > MemoryAccount.uncounted && sockets.memory.isOverdrawn }

  private func write() -> Int {
    if queue.count - sentPieces == 1 {
      // If only one piece is sent, as to a watch: this system call costs less.
      let rest = UnsafeRawBufferPointer(rebasing: queue[sentPieces].bytes[sentBytes...])
      return Glibc.send(descriptor, rest.baseAddress, rest.count, SocketConstants.noSignal)
    }
    return withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.maxPieces) { vectors in
      var count = 0
      var offset = sentBytes
      for piece in queue[sentPieces...].prefix(Self.maxPieces) {
        let start = UnsafeMutableRawPointer(mutating: piece.bytes.baseAddress! + offset)
        vectors.initializeElement(at: count, to: iovec(iov_base: start, iov_len: piece.bytes.count - offset))
        count += 1
        offset = 0
      }
      var message = msghdr()
      message.msg_iov = vectors.baseAddress
      message.msg_iovlen = count
      return sendmsg(descriptor, &message, SocketConstants.noSignal)
    }
  }

  private func advance(by count: Int) {
    if takenCount == confirmedCount { lastProgress = sockets.loop.now }
    takenCount += count
    sockets.sentBytes &+= UInt64(count)
    backlog -= count
    sentBytes += count
    guard backlog > 0 else {
      queue = []
      sentPieces = 0
      sentBytes = 0
      return
    }
    while sentBytes >= queue[sentPieces].bytes.count {
      sentBytes -= queue[sentPieces].bytes.count
      sentPieces += 1
    }
    // Pieces that were sent are removed, but not one by one.
    if sentPieces >= Self.maxPieces * 4 {
      queue.removeFirst(sentPieces)
      sentPieces = 0
    }
  }

  // MARK: - From the system

  private func updateWatch() {
    guard !isAwaited, !isClosed else { return }
    var events: SocketEvents = []
    if isBlocked { events.insert(.writable) }
    if reads || isLingering { events.insert(.readable) }
    if !hasHalfClosed { events.insert(.disconnect) }
    watcher?.watch(events)
  }

  private func ready(_ events: SocketEvents) {
    if events.contains(.writable) && isBlocked {
      isBlocked = false
      updateWatch()
      sockets.flushLater(self)
    }
    if events.contains(.readable) && (reads || isLingering) { return read() }
    guard events.contains(.disconnect) else { return updateWatch() }
    if isHalfOpen(descriptor) {
      hasHalfClosed = true
      confirm()
      lastProgress = sockets.loop.now
      look(after: Self.grace)
      updateWatch()
    } else {
      vanish()
    }
  }

  private func read() {
    let count = recv(descriptor, sockets.scratch.baseAddress, sockets.scratch.count, 0)
    switch count {
    case 1...:
      if case .lingering(var close) = phase {
        close.hasDiscarded(count, now: sockets.loop.now)
        phase = .lingering(close)
        if close.isOver(now: sockets.loop.now) { self.close() }
      }
      guard isOpen else { return }
      delegate?.socket(self, received: UnsafeRawBufferPointer(rebasing: sockets.scratch[..<count]))
    case 0: vanish()
    default:
      if errno != EAGAIN && errno != EINTR { vanish() }
    }
  }

  // MARK: - Time limits

  private func look(after delay: UInt64) {
    nextLook = min(isAttended ? nextLook : .max, sockets.loop.now + delay)
    sockets.attend(self)
  }

  /// Notes what the client's system has acknowledged; returns whether that was anything.
  @discardableResult
  private func confirm() -> Bool {
    // How many bytes the client's system has not acknowledged (tcp(7), SIOCOUTQ).
    var waiting: Int32 = 0
    guard ioctl(descriptor, UInt(TIOCOUTQ), &waiting) == 0 else { return false }
    let confirmed = takenCount - Int(waiting) - (termination?.unconfirmedCount ?? 0)
    defer { confirmedCount = confirmed }
    return confirmed > confirmedCount
  }

  /// Checks whether the socket has run out of time. Returns false if it needs no further checks.
  func lookAgain() -> Bool {
    guard !isClosed else { return false }
    let now = sockets.loop.now
    if case .lingering(let close) = phase {
      guard now < deadline, !close.isOver(now: now) else {
        self.close()
        return false
      }
      nextLook = now + TakenOverConnections.tick
      return true
    }
    if confirm() { lastProgress = now }
    if now >= deadline {
      abandon()
      return false
    }
    if isTooMuch {
      delegate?.socketHasStalled(self, MemoryAccount.shortage)
      if isClosed { return false }
    }
    let isIdle = backlog == 0 && confirmedCount == takenCount
    // A client that has left answers bytes with a reset. While there is something to take, it may only be slow.
    if hasHalfClosed && isIdle && now - lastProgress >= (isEndless ? Self.grace : sockets.stallLimit) {
      vanish()
      return false
    }
    if !isIdle && now - lastProgress >= sockets.stallLimit {
      lastProgress = now
      if isOpen { delegate?.socketHasStalled(self, Self.stall) } else { cut() }
      if isClosed { return false }
    }
    let hasLimit = hasHalfClosed || deadline != .max
    nextLook = now + (hasLimit ? TakenOverConnections.tick : sockets.lookInterval)
    return hasLimit || !isIdle
  }

  /// Notifies the owner that there is no room for what waits, if the client has taken nothing of it for a while: a
  /// client that keeps up takes something all the time.
  func endIfStalled() {
    guard isOpen, backlog > MemoryAccount.uncounted else { return }
    if confirm() { lastProgress = sockets.loop.now }
    guard sockets.loop.now - lastProgress >= Self.grace else { return }
    delegate?.socketHasStalled(self, MemoryAccount.shortage)
  }

  private func linger() {
    phase = .lingering(LingeringClose(now: sockets.loop.now))
    shutdown(descriptor, SocketConstants.shutWrites)
    look(after: TakenOverConnections.tick)
    updateWatch()
  }

  /// The client has disconnected, or can no longer be reached.
  private func vanish() {
    let delegate = isOpen || isAwaited ? delegate : nil
    // Not everything was sent: that must not look like a proper end.
    if !isLingering { termination?.cut() }
    close()
    delegate?.socketIsGone(self)
  }

  private func close() {
    let wasAwaited = isAwaited
    phase = .closed
    queue = []
    backlog = 0
    sentPieces = 0
    sentBytes = 0
    watcher?.watch([])
    watcher = nil
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
    termination = nil
    place = nil
    if !wasAwaited { sockets.remove(self) }
    delegate = nil
  }
}

private typealias linger_t = linger
