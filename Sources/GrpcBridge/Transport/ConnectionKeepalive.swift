import EventLoop

/// Notices that a connection's peer has fallen silent. If the peer owes an answer and nothing has come for a while, it
/// is sent a PING, which a peer that is merely slow answers at once. If it stays silent, it becomes suspect, and in the
/// end the connection is given up. TCP alone does not notice a peer whose process or machine stands still while its
/// system goes on to acknowledge what is sent.
///
/// Follows the gRPC documentation, "Keepalive": no PING without calls, and none while other bytes come.
final class ConnectionKeepalive {
  /// The least time between two PINGs, in milliseconds. etcd ends connections that get PINGs more often than every 5 s
  /// (`--grpc-keepalive-min-time`); one second more is for a network that delays one PING more than the next.
  private static let leastInterval: UInt64 = 6000

  // Invariant: the connection owns this object. Unsafe, as it is used often.
  private unowned(unsafe) let connection: Connection
  private let loop: EventLoop
  private let configuration: Channel.Configuration
  /// When bytes came last.
  private var lastNews: UInt64 = 0
  /// Since when the peer has owed an answer and sent nothing; nil if it owes none.
  private var owesSince: UInt64?
  private var lastPing: UInt64?
  /// Whether nothing has come since the last PING.
  private var isPinged = false
  /// Whether calls had better go to other members.
  private(set) var isSuspect = false
  /// When the timer fires; `max` if it does not run.
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

  /// The peer was sent a request.
  func asked() {
    guard owesSince == nil else { return }
    owesSince = loop.now
    wake(at: loop.now + patience)
  }

  /// Bytes have come from the peer. To be called before they are parsed.
  func heard() {
    lastNews = loop.now
    owesSince = nil
    isSuspect = false
    guard isPinged else { return }
    isPinged = false
    wake(at: lastNews + configuration.keepaliveTime)
  }

  /// The bytes that have come are parsed. If answers are still owed, the wait for them begins anew; the timer is left
  /// as it is, and checks the times when it fires.
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

  /// How long the peer may owe an answer and send nothing before it gets a PING.
  private var patience: UInt64 { min(configuration.suspectAfter, configuration.keepaliveTime) }

  /// When the next PING is due; nil if one is unanswered, or if the peer has no calls.
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

  /// When the peer becomes suspect if nothing comes; nil if it is suspect already, or owes nothing.
  private var doubt: UInt64? {
    guard !isSuspect, let owesSince else { return nil }
    // If a PING must not be sent yet, silence for as long again is enough.
    guard isPinged, let lastPing else { return owesSince + 2 * configuration.suspectAfter }
    return max(lastPing, owesSince) + configuration.suspectAfter
  }

  /// When the connection is given up if nothing comes; nil if no PING is unanswered. A PING that was delayed for etcd's
  /// sake gives a peer that owes answers no more time, except for the least that a PING needs.
  private var end: UInt64? {
    guard isPinged, let lastPing else { return nil }
    let timeout = configuration.keepaliveTimeout
    let end = owesSince.map { min($0 + patience, lastPing) } ?? lastPing
    return max(end + timeout, lastPing + min(timeout, patience))
  }

  /// Reads the bytes that have come. The loop may have stood still while they waited in the socket, and it serves
  /// timers before sockets.
  ///
  /// - Returns: whether the connection still exists.
  private func hearLatestNews() -> Bool {
    let connection = connection
    connection.receive()
    return connection.state != .closed
  }
}
