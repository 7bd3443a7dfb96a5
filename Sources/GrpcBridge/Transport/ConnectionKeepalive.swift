import EventLoop

/// Notices that the peer of a connection has fallen silent. Where it owes an answer and nothing has come for a while,
/// it is sent a PING, which a peer answers at once that is merely slow. One that is silent on is suspect, and in the
/// end given up. The process of a peer may stand still, or its machine, while its system goes on acknowledging what is
/// sent, so that TCP notices nothing.
///
/// Follows the gRPC documentation, "ConnectionKeepalive": no PING without calls, and none where other bytes come.
final class ConnectionKeepalive {
  /// etcd ends connections that are sent PINGs more often than every 5 s (`--grpc-keepalive-min-time`); in
  /// milliseconds. The rest is for a network that delays one PING more than the next.
  private static let leastInterval: UInt64 = 6000

  private unowned let connection: Connection
  private let loop: EventLoop
  private let configuration: Channel.Configuration
  /// When something came last.
  private var lastNews: UInt64 = 0
  /// Since when the peer owes an answer and says nothing; nil if it owes none.
  private var owesSince: UInt64?
  private var lastPing: UInt64?
  /// Whether nothing has come since the last PING.
  private var isPinged = false
  /// Whether others had better be asked.
  private(set) var isSuspect = false
  /// When the timer fires; `max` while it does not run.
  private var nextLook = UInt64.max
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in
    nextLook = .max
    look()
  }

  init(connection: Connection, loop: EventLoop, configuration: Channel.Configuration) {
    self.connection = connection
    self.loop = loop
    self.configuration = configuration
  }

  /// Takes notice that the peer was asked something.
  func asked() {
    guard owesSince == nil else { return }
    owesSince = loop.now
    wake(at: loop.now + patience)
  }

  /// Takes notice of bytes from the peer, whatever they are, before they are understood.
  func heard() {
    lastNews = loop.now
    owesSince = nil
    isSuspect = false
    guard isPinged else { return }
    isPinged = false
    wake(at: lastNews + configuration.keepaliveTime)
  }

  /// Takes notice that what has come is understood. The timer runs from when the peer was asked, and finds out by
  /// itself how late it is.
  func understood() {
    guard owesSince == nil, connection.session.unansweredCount > 0 else { return }
    owesSince = lastNews
  }

  func stop() { timer.stop() }

  private func wake(at time: UInt64) {
    guard time < nextLook else { return }
    nextLook = time
    timer.start(after: time > loop.now ? time - loop.now : 0)
  }

  private func look() {
    guard hearLatestNews() else { return }
    let now = loop.now
    if let due = nextPing, now >= due {
      lastPing = now
      isPinged = true
      connection.ping()
    }
    if let end, now >= end { return connection.fail("the peer does not answer") }
    if let doubt, now >= doubt {
      isSuspect = true
      connection.hasBecomeSuspect()
      guard connection.state != .closed else { return }
    }
    if let next = [nextPing, doubt, end].lazy.compactMap({ $0 }).min() { wake(at: max(next, now + 1)) }
  }

  /// How long an answer may take before there is a PING.
  private var patience: UInt64 { min(configuration.suspectAfter, configuration.keepaliveTime) }

  /// When the next PING is due; nil if the answer to one is awaited, or nothing else.
  private var nextPing: UInt64? {
    guard !isPinged else { return nil }
    let due: UInt64
    if let owesSince {
      due = owesSince + patience
    } else if connection.session.callCount > 0 {
      due = lastNews + configuration.keepaliveTime
    } else {
      return nil
    }
    return max(due, lastPing.map { $0 + min(Self.leastInterval, configuration.keepaliveTime) } ?? 0)
  }

  /// When the peer becomes suspect, if nothing comes; nil if it is, or owes nothing.
  private var doubt: UInt64? {
    guard !isSuspect, let owesSince else { return nil }
    // Where it takes no PING yet, that it says nothing for as long has to do.
    guard isPinged, let lastPing else { return owesSince + 2 * configuration.suspectAfter }
    return max(lastPing, owesSince) + configuration.suspectAfter
  }

  /// When the peer is given up, if nothing comes; nil if no PING waits for its answer. One that was due earlier than
  /// etcd takes it gives no more time to answers that are owed, but for the least that a PING needs.
  private var end: UInt64? {
    guard isPinged, let lastPing else { return nil }
    let timeout = configuration.keepaliveTimeout
    let end = owesSince.map { min($0 + patience, lastPing) } ?? lastPing
    return max(end + timeout, lastPing + min(timeout, patience))
  }

  /// Reads what has come: the loop itself may have stood still, with news in the socket, and timers come before
  /// sockets.
  ///
  /// - Returns: whether the connection is still there.
  private func hearLatestNews() -> Bool {
    let connection = connection
    connection.receive()
    return connection.state != .closed
  }
}
