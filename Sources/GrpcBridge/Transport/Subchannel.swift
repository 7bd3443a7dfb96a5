import EventLoop

/// One endpoint of a channel: its connection, which is kept up as far as possible, and what is known of the member's
/// state. Belongs to a ``Channel``.
final class Subchannel {
  let endpoint: Endpoint
  // Invariant: the channel owns its subchannels, and ends their connections before it is released. Unsafe, as it is
  // used often.
  unowned(unsafe) let channel: Channel
  /// The connection that takes calls, or will take them when it is ready.
  private(set) var connection: Connection?
  /// How many connections have begun, the current one included.
  private(set) var connectionCount = 0
  /// Connections that take no more calls and finish those that they have.
  private(set) var draining: [Connection] = []
  /// Why there is no connection.
  private(set) var trouble = "not connected yet"
  /// Whether the lack of a connection has been reported.
  private var isTroubled = false
  /// When the lack of a connection was last reported.
  private var lastWarning: UInt64?
  /// How many milliseconds lie between two reports, at least, about a member that accepts connections and closes them.
  private static let warningInterval: UInt64 = 30_000
  /// When the last attempt to connect began.
  private var attemptedAt: UInt64 = 0
  /// Whether the endpoint refused the connection in that attempt.
  private var wasRefused = false
  private var isRetired = false
  private var backoff: Backoff
  private var readySince: UInt64 = 0
  /// The counts of the calls to this member.
  let counts: CallCounts
  private let loop: EventLoop
  private lazy var redial = LoopTimer(loop: loop) { [unowned self] in dial() }
  private lazy var leaderProbe = LeaderProbe(subchannel: self, loop: loop)

  /// Begins to connect.
  init(_ endpoint: Endpoint, channel: Channel, loop: EventLoop) {
    self.endpoint = endpoint
    self.channel = channel
    self.loop = loop
    backoff = channel.configuration.backoff
    counts = channel.counts(of: endpoint)
    redial.start(after: 0)
  }

  // MARK: - Rank

  /// How little a call should go here; nil if it cannot.
  enum Rank: Int, Comparable {
    case none
    /// The member has as many calls as it takes at a time.
    case full
    /// The member owes answers and has sent nothing for a while.
    case silent
    /// The current call has just failed here.
    case failed
    /// The member has no leader, is a learner, or was lost and has not proved since that it serves again.
    case unusable

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  /// Whether the member takes another call now.
  var hasRoom: Bool { rank(failedAt: nil).map { $0 != .full && $0 != .unusable } ?? false }

  func rank(failedAt failed: ObjectIdentifier?) -> Rank? {
    guard let connection, connection.state == .ready else { return nil }
    if leaderProbe.isRefused { return .unusable }
    if failed == ObjectIdentifier(self) { return .failed }
    if connection.isSuspect { return .silent }
    return connection.session.isFull ? .full : Rank.none
  }

  /// Whether the endpoint refused the connection in an attempt that began after `time`. If the last attempt was
  /// earlier, another one begins, whatever the backoff.
  func hasRefused(since time: UInt64) -> Bool {
    guard connection == nil, wasRefused else { return false }
    if attemptedAt > time { return true }
    redial.start(after: 0)
    return false
  }

  /// Finds out whether the member is usable, from now on or anew.
  func watch() {
    if let connection, connection.state == .ready { leaderProbe.start(on: connection) }
  }

  /// The member has reported that it is unusable for now.
  func isOfNoUse() { leaderProbe.refused() }

  /// If there is a better member, the calls that wait here and may be repeated go there.
  func giveUpCalls(_ status: GRPCStatus) { channel.move(callsOf: self, after: status) }

  // MARK: - Connections

  private func dial() {
    guard connection == nil, !isRetired else { return }
    let connection = Connection(loop: loop, subchannel: self)
    self.connection = connection
    connectionCount += 1
    attemptedAt = loop.now
    counts.connects &+= 1
    connection.start(timeout: channel.configuration.dialTimeout)
  }

  /// Whether the connection has served longer than one to a peer that accepts connections and closes them.
  private var hasServed: Bool { readySince > 0 && loop.now - readySince > UInt64(backoff.most) }

  func connectionIsReady(_ connection: Connection) {
    channel.logger.log(
      level: isTroubled ? .notice : .debug, "connected to etcd",
      metadata: ["endpoint": "\(endpoint)", "security": "\(connection.security)"])
    isTroubled = false
    readySince = loop.now
    if channel.hasChoice { watch() }
    channel.memberIsReady()
  }

  func connectionIsDraining(_ connection: Connection) {
    guard connection === self.connection else { return }
    leaderProbe.stop()
    self.connection = nil
    draining.append(connection)
    if !isRetired { redial.start(after: hasServed ? 0 : backoff.wait()) }
  }

  func connectionEnded(_ connection: Connection, reason: String, isRefusal: Bool) {
    let status = GRPCStatus(
      .unavailable, "the connection to \(endpoint.authority) was lost: \(reason)", origin: .lost)
    guard connection === self.connection else {
      draining.removeAll { $0 === connection }
      return channel.connectionEnded(connection, status)
    }
    if readySince > 0 { leaderProbe.lost() }
    self.connection = nil
    wasRefused = isRefusal
    trouble = "\(endpoint.authority): \(reason)"
    if !isRetired {
      counts.failures &+= 1
      let isNew = !isTroubled && (hasServed || lastWarning.map { loop.now - $0 >= Self.warningInterval } ?? true)
      channel.logger.log(
        level: isNew ? .warning : .debug, "no connection to etcd",
        metadata: ["endpoint": "\(endpoint)", "reason": "\(reason)"])
      if isNew {
        isTroubled = true
        lastWarning = loop.now
      }
      // An endpoint whose connection has served for a while is dialled again soon.
      if hasServed { backoff.reset() }
      readySince = 0
      redial.start(after: backoff.wait())
    }
    channel.connectionEnded(connection, status)
  }

  // MARK: - The turn of the loop

  func flush() {
    connection?.flush()
    for connection in draining { connection.flush() }
  }

  var needsFlush: Bool { connection?.needsFlush == true || draining.contains { $0.needsFlush } }

  /// Whether old connections still have calls.
  var isDraining: Bool { !draining.isEmpty }

  // MARK: - The end

  /// Takes no more calls; those under way continue.
  func retire() {
    isRetired = true
    redial.stop()
    guard let connection else { return }
    if connection.state == .ready { connection.leave() } else { connection.fail("the endpoint was removed") }
  }

  /// Ends all connections, for good.
  func close() {
    isRetired = true
    redial.stop()
    for connection in draining { connection.fail("closed") }
    connection?.fail("closed")
  }
}
