import EventLoop

/// Notices that the peer of a connection has fallen silent. Where something was asked, and nothing has come for a while, it
/// is sent a PING, which a peer answers at once that is merely slow. One that is silent on is suspect, and in the end given
/// up. The process of a peer may stand still, or its machine, while its system goes on acknowledging what is sent, so that
/// TCP notices nothing.
///
/// Follows the gRPC documentation, "Keepalive": no PING without calls, and none where other bytes come.
final class Keepalive {
  /// etcd ends connections that are sent PINGs more often than every 5 s (`--grpc-keepalive-min-time`); in milliseconds.
  private static let leastInterval: UInt64 = 6000

  private unowned let connection: Connection
  private let loop: EventLoop
  private let configuration: Channel.Configuration
  /// When something came last.
  private var lastNews: UInt64 = 0
  /// When something was asked, for the first time since something came.
  private var askedAt: UInt64?
  private var lastPing: UInt64?
  /// Whether nothing has come since the last PING.
  private var isPinged = false
  /// Whether others had better be asked.
  private(set) var isSuspect = false
  /// Runs while there are calls, and at most once after the last one.
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }
  /// Runs while something was asked, and at most once after that.
  private lazy var suspicion = LoopTimer(loop: loop) { [unowned self] in doubt() }

  init(connection: Connection, loop: EventLoop, configuration: Channel.Configuration) {
    self.connection = connection
    self.loop = loop
    self.configuration = configuration
  }

  /// Takes notice that the peer was asked something.
  func asked() {
    if !timer.isActive { timer.start(after: configuration.keepaliveTime) }
    // Nobody else could be asked where there is no choice.
    guard askedAt == nil, connection.member.channel.hasChoice else { return }
    askedAt = loop.now
    if !suspicion.isActive { suspicion.start(after: configuration.suspectAfter) }
  }

  /// Takes notice of bytes from the peer, whatever they are.
  func heard() {
    lastNews = loop.now
    askedAt = nil
    isSuspect = false
    guard isPinged else { return }
    isPinged = false
    timer.start(after: configuration.keepaliveTime)
  }

  func stop() {
    timer.stop()
    suspicion.stop()
  }

  private func doubt() {
    guard hearLatestNews(), let askedAt else { return }
    let now = loop.now
    if isSuspect { return isPinged ? () : ping() }
    let end: UInt64
    if isPinged {
      end = max(lastPing ?? 0, askedAt) + configuration.suspectAfter
    } else if now >= nextPing {
      end = askedAt + configuration.suspectAfter
    } else {
      // It takes no PING yet: that it says nothing for as long has to do.
      end = askedAt + 2 * configuration.suspectAfter
    }
    guard now >= end else { return suspicion.start(after: end - now) }
    if !isPinged && now >= nextPing {
      ping()
      return suspicion.start(after: configuration.suspectAfter)
    }
    isSuspect = true
    if !isPinged { suspicion.start(after: nextPing - now) }
    connection.hasBecomeSuspect()
  }

  private func look() {
    guard isPinged || connection.session.callCount > 0, hearLatestNews() else { return }
    let now = loop.now
    let end: UInt64
    if isPinged {
      end = (lastPing ?? 0) + configuration.keepaliveTimeout
    } else {
      guard connection.session.callCount > 0 else { return }
      end = max(lastNews + configuration.keepaliveTime, nextPing)
    }
    guard now >= end else { return timer.start(after: end - now) }
    if isPinged { return connection.fail("the peer does not answer") }
    ping()
    timer.start(after: configuration.keepaliveTimeout)
  }

  /// When the peer takes the next PING.
  private var nextPing: UInt64 {
    lastPing.map { $0 + min(Self.leastInterval, configuration.keepaliveTime) } ?? 0
  }

  private func ping() {
    lastPing = loop.now
    isPinged = true
    connection.ping()
  }

  /// Reads what has come: the loop itself may have stood still, with news in the socket, and timers come before sockets.
  ///
  /// - Returns: whether the connection is still there.
  private func hearLatestNews() -> Bool {
    let connection = connection
    connection.receive()
    return connection.state != .closed
  }
}
