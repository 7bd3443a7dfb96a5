import ByteBuffers
import EventLoop
import Glibc
import TLS

/// One client's TLS connection, ended in front of libmicrohttpd: its bytes go through a pair of Unix sockets, whose
/// other end is the client's connection for libmicrohttpd. Belongs to its shard's loop.
///
/// Back-pressure is passed on: of each direction at most one buffer waits here, and its sender is not read meanwhile.
/// Ends are passed on, too. If the client sends close_notify, the pair is half-closed; if the client is lost, the pair
/// is closed. The end of what is served becomes close_notify and FIN; a premature end becomes FIN alone or a reset, so
/// that no client takes a part for the whole.
final class TLSTermination {
  /// Where the termination is between accept and close.
  private enum Phase {
    case shakingHands
    case carrying
    /// The served side has ended: the rest is sent, then close_notify.
    case finishing
    /// Our side is closed: the client has yet to close its own.
    case lingering
    case closed
  }

  /// If a client has closed its side, it counts as lost when nothing has moved for so many milliseconds, as for
  /// ``TakenOverConnection``.
  private static let grace = TakenOverConnection.grace

  let peer: SocketAddress
  /// Its place among the connections of its address.
  private var place: AddressCounts.Place?
  private unowned let terminations: TLSTerminations
  private var session: TLSSession?
  /// The client's connection.
  private let outer: Int32
  /// Our end of the pair; -1 while there is none.
  private var inner: Int32 = -1
  private var outerWatcher: SocketWatcher?
  private var innerWatcher: SocketWatcher?
  private var timer: LoopTimer?
  private var phase = Phase.shakingHands
  private var lingeringClose = LingeringClose(now: 0)
  /// Its index in `terminations`.
  var slot = -1

  /// Bytes from the client that the pair has not taken yet.
  private var up = ByteQueue()
  /// Bytes for the client that its connection has not taken yet.
  private var down = ByteQueue()
  /// The events that the handshake, the next read and the next write wait for.
  private var readWants = SocketEvents.readable
  private var writeWants = SocketEvents.writable
  /// Whether the client has sent close_notify, or its bytes no longer matter.
  private var isUpEnded = false
  /// Whether the client has closed its side while it was not read.
  private var hasHungUp = false
  /// Whether the served side ends prematurely.
  private var isBroken = false
  /// How many bytes have come from the client, without TLS.
  private(set) var receivedCount: UInt64 = 0
  /// Whether anything was ever sent to it.
  private(set) var hasSent = false
  /// The connection that is served through it, which clears this before it is released.
  unowned(unsafe) var client: ClientConnection?
  /// How many bytes have moved either way, now and at the last check.
  private var movedCount = 0
  private var lookedCount = 0

  /// - Throws: `LoopError` if the connection cannot be watched. Then it still belongs to the caller.
  init(
    _ socket: AcceptedSocket, session: TLSSession, place: AddressCounts.Place?, terminations: TLSTerminations
  ) throws(LoopError) {
    peer = socket.peer
    self.place = place
    outer = socket.descriptor
    self.session = session
    self.terminations = terminations
    outerWatcher = try SocketWatcher(loop: terminations.loop, descriptor: outer) { [unowned self] in outerIsReady($0) }
    // The limit is fixed: progress, however slow, does not extend it.
    start(after: terminations.limits.handshake) { [unowned self] in
      terminations.handshakeCounts.failed &+= 1
      terminations.logger.debug("\(Peer(peer.ipAddress)): no TLS handshake in time")
      close()
    }
    updateWatch()
  }

  // MARK: - From the served side

  /// The served side is going to end prematurely.
  func breakOff() { isBroken = true }

  /// Ends the connection now, with a reset.
  func cut() {
    guard phase != .closed else { return }
    var reset = linger(l_onoff: 1, l_linger: 0)
    setsockopt(outer, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout.size(ofValue: reset)))
    close()
  }

  /// How many bytes that were taken from the pair the client's system has not acknowledged (tcp(7), SIOCOUTQ).
  var unconfirmedCount: Int {
    var waiting: Int32 = 0
    guard phase != .closed, ioctl(outer, UInt(TIOCOUTQ), &waiting) == 0 else { return 0 }
    return down.count + Int(waiting)
  }

  /// Whether there are bytes for the client that its connection has not taken.
  var hasUnsent: Bool {
    var waiting: Int32 = 0
    switch phase {
    case .finishing: return true
    case .carrying: return !down.isEmpty || (ioctl(inner, UInt(FIONREAD), &waiting) == 0 && waiting > 0)
    case .shakingHands, .lingering, .closed: return false
    }
  }

  /// Sends all that can be sent at once, and ends the connection.
  func abandon() {
    while phase == .carrying && down.isEmpty && carryDown() {}
    if phase == .carrying { finish() }
    close()
  }

  // MARK: - From the system

  private func outerIsReady(_ events: SocketEvents) {
    switch phase {
    case .shakingHands: shakeHands()
    case .carrying:
      if !down.isEmpty && !events.isDisjoint(with: writeWants) { sendDown() }
      if isReading && !events.isDisjoint(with: readWants) { carryUp() }
      if phase == .carrying && !isReading && events.contains(.disconnect) { noticeHangUp() }
    case .finishing: sendDown()
    case .lingering: discard()
    case .closed: break
    }
    updateWatch()
  }

  private func innerIsReady(_ events: SocketEvents) {
    if phase == .carrying && !up.isEmpty && events.contains(.writable) { sendUp() }
    if phase == .carrying && down.isEmpty && events.contains(.readable) { _ = carryDown() }
    updateWatch()
  }

  private var isReading: Bool { phase == .carrying && up.isEmpty && !isUpEnded }

  private func updateWatch() {
    guard phase != .closed else { return }
    var outerEvents: SocketEvents = []
    var innerEvents: SocketEvents = []
    switch phase {
    case .shakingHands: outerEvents = readWants
    case .carrying:
      if isReading { outerEvents = readWants } else if !hasHungUp { outerEvents = .disconnect }
      if down.isEmpty { innerEvents = .readable } else { outerEvents.formUnion(writeWants) }
      if !up.isEmpty { innerEvents.insert(.writable) }
    case .finishing: outerEvents = writeWants
    case .lingering: outerEvents = .readable
    case .closed: break
    }
    outerWatcher?.watch(outerEvents)
    innerWatcher?.watch(innerEvents)
  }

  // MARK: - The handshake

  private func shakeHands() {
    switch session!.handshake() {
    case .done:
      terminations.handshakeCounts.done &+= 1
      beServed()
    case .wantsReadable: readWants = .readable
    case .wantsWritable: readWants = .writable
    case .failed(let error):
      terminations.handshakeCounts.failed &+= 1
      terminations.logger.debug("\(Peer(peer.ipAddress)): \(error)")
      if error.kind == .notTLS {
        let answer = BareAnswer(
          terminations.server.service.response(to: RequestError(400, "this port speaks TLS: use https")))
        answer.bytes.withUnsafeBytes { _ = send(outer, $0.baseAddress, $0.count, SocketConstants.noSignal) }
      }
      awaitClose()
    }
  }

  private func beServed() {
    timer = nil
    readWants = .readable
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, SocketConstants.nonBlockingStream, 0, &pair) == 0 else {
      terminations.logger.warning("a connection was closed: \(LoopError(-errno))")
      return close()
    }
    inner = pair[0]
    innerWatcher = try? SocketWatcher(loop: terminations.loop, descriptor: inner) { [unowned self] in innerIsReady($0) }
    guard innerWatcher != nil else {
      Glibc.close(pair[1])
      return close()
    }
    phase = .carrying
    terminations.oneIsServed()
    guard terminations.serve(pair[1], of: self) else { return close() }
    carryUp()
  }

  // MARK: - From the client

  private func carryUp() {
    // Ends at the latest when the pair takes no more.
    repeat {
      switch session!.read(into: terminations.scratch) {
      case .bytes(let count):
        movedCount += count
        receivedCount &+= UInt64(count)
        readWants = .readable
        let bytes = UnsafeRawBufferPointer(rebasing: terminations.scratch[..<count])
        let sent = give(bytes)
        up.append(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
      case .wantsReadable: return readWants = .readable
      case .wantsWritable: return readWants = .writable
      case .closed:
        isUpEnded = true
        shutdown(inner, SocketConstants.shutWrites)
      case .failed: return close()
      }
    } while isReading && session!.hasPendingBytes
  }

  private func sendUp() {
    let waiting = up
    up.drop(waiting.withUnsafeBytes { give($0) })
    if isReading { carryUp() }
  }

  /// Writes to the pair; returns how many bytes it has taken.
  private func give(_ bytes: UnsafeRawBufferPointer) -> Int {
    let count = send(inner, bytes.baseAddress, bytes.count, SocketConstants.noSignal)
    terminations.haveInput()
    // libmicrohttpd reads them in this turn, before the system notifies it.
    client?.hasBytes()
    if count >= 0 { return count }
    if errno == EAGAIN || errno == EINTR { return 0 }
    // The other end is closed, which is noticed when it is read.
    isUpEnded = true
    return bytes.count
  }

  /// The client has closed its side while it is not read.
  private func noticeHangUp() {
    guard isHalfOpen(outer) else { return close() }
    hasHungUp = true
    guard !isUpEnded else { return }
    lookedCount = movedCount
    start(after: Self.grace, every: Self.grace) { [unowned self] in
      if up.isEmpty { return timer = nil }
      // The gateway itself holds the client back.
      if client?.isHeldBack == true { return }
      if movedCount == lookedCount { return close() }
      lookedCount = movedCount
    }
  }

  // MARK: - For the client

  /// Passes on what the pair has; returns whether there was anything.
  private func carryDown() -> Bool {
    let count = recv(inner, terminations.scratch.baseAddress, terminations.scratch.count, 0)
    guard count > 0 else {
      if count == 0 || (errno != EAGAIN && errno != EINTR) { finish() }
      return false
    }
    let bytes = UnsafeRawBufferPointer(rebasing: terminations.scratch[..<count])
    let sent = transmit(bytes)
    if phase == .carrying { down.append(UnsafeRawBufferPointer(rebasing: bytes[sent...])) }
    return true
  }

  private func sendDown() {
    let waiting = down
    down.drop(waiting.withUnsafeBytes { transmit($0) })
    if phase == .finishing && down.isEmpty { sayGoodbye() }
  }

  /// Sends as much as the client's connection takes; returns how many bytes.
  private func transmit(_ bytes: UnsafeRawBufferPointer) -> Int {
    var sent = 0
    while sent < bytes.count {
      switch session!.write(UnsafeRawBufferPointer(rebasing: bytes[sent...])) {
      case .bytes(let count):
        sent += count
        movedCount += count
        hasSent = true
      case .wantsReadable:
        writeWants = .readable
        return sent
      case .wantsWritable:
        writeWants = .writable
        return sent
      case .closed, .failed:
        close()
        return sent
      }
    }
    return sent
  }

  // MARK: - The end

  /// The served side has ended.
  private func finish() {
    phase = .finishing
    terminations.oneIsNoLongerServed()
    closeInner()
    lookedCount = movedCount
    start(after: terminations.limits.stall, every: terminations.limits.stall) { [unowned self] in
      if movedCount == lookedCount { return cut() }
      lookedCount = movedCount
    }
    writeWants = .writable
    if down.isEmpty { sayGoodbye() }
  }

  private func sayGoodbye() {
    if !isBroken {
      switch session!.close() {
      case .done, .failed: break
      case .wantsReadable: return writeWants = .readable
      case .wantsWritable: return writeWants = .writable
      }
    }
    awaitClose()
  }

  /// Closes our side, and gives the client time to close its own.
  private func awaitClose() {
    phase = .lingering
    session = nil
    shutdown(outer, SocketConstants.shutWrites)
    lingeringClose = LingeringClose(now: terminations.loop.now)
    start(after: Self.grace, every: Self.grace) { [unowned self] in
      if lingeringClose.isOver(now: terminations.loop.now) { close() }
    }
  }

  private func discard() {
    let count = recv(outer, terminations.scratch.baseAddress, terminations.scratch.count, 0)
    if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { return close() }
    lingeringClose.hasDiscarded(max(0, count), now: terminations.loop.now)
    if lingeringClose.isOver(now: terminations.loop.now) { close() }
  }

  private func start(after delay: UInt64, every interval: UInt64 = 0, _ body: @escaping () -> Void) {
    timer = LoopTimer(loop: terminations.loop, body)
    timer?.start(after: delay, every: interval)
  }

  private func closeInner() {
    innerWatcher?.watch([])
    innerWatcher = nil
    if inner >= 0 { Glibc.close(inner) }
    inner = -1
  }

  private func close() {
    guard phase != .closed else { return }
    if phase == .carrying { terminations.oneIsNoLongerServed() }
    phase = .closed
    timer = nil
    closeInner()
    outerWatcher?.watch([])
    outerWatcher = nil
    Glibc.close(outer)
    session = nil
    up = ByteQueue()
    down = ByteQueue()
    // The connection that is served may outlive the termination by a moment.
    place = nil
    terminations.remove(self)
  }
}
