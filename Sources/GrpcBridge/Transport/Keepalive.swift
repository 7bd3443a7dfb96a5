import EventLoop

/// Notices that the peer of a connection has fallen silent: where calls wait and nothing has come for a while it is sent a
/// PING, and given up if that is not followed by a single byte. The process of a peer may stand still, or its machine,
/// while its system goes on acknowledging what is sent, so that TCP notices nothing.
///
/// Follows the gRPC documentation, "Keepalive": no PING without calls, and none where other bytes come.
final class Keepalive {
  private unowned let connection: Connection
  private let loop: EventLoop
  private let time: UInt64
  private let timeout: UInt64
  /// When something came last.
  private var lastNews: UInt64 = 0
  /// Whether nothing has come since the PING.
  private var awaitsAnswer = false
  /// Runs while there are calls, and at most once after the last one.
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }

  init(connection: Connection, loop: EventLoop, configuration: Channel.Configuration) {
    self.connection = connection
    self.loop = loop
    time = configuration.keepaliveTime
    timeout = configuration.keepaliveTimeout
  }

  /// Takes notice of the first call after a time without any.
  func start() {
    if !timer.isActive { timer.start(after: time) }
  }

  /// Takes notice of bytes from the peer, whatever they are.
  func heard() {
    lastNews = loop.now
    guard awaitsAnswer else { return }
    awaitsAnswer = false
    timer.start(after: time)
  }

  func stop() { timer.stop() }

  private func look() {
    let connection = connection
    guard awaitsAnswer || connection.session.callCount > 0 else { return }
    // The loop itself may have stood still, with news in the socket: timers come before sockets. They may be its end.
    connection.receive()
    guard connection.state != .closed else { return }
    if awaitsAnswer { return connection.fail("the peer does not answer") }
    guard connection.session.callCount > 0 else { return }
    let silence = loop.now - lastNews
    if silence < time { return timer.start(after: time - silence) }
    awaitsAnswer = true
    connection.ping()
    timer.start(after: timeout)
  }
}
