import EventLoop

/// One member of the cluster as a channel sees it: a connection that is kept up as far as that is possible, and what is
/// known of its use. Belongs to a ``Channel``.
final class Subchannel {
  let endpoint: Endpoint
  unowned let channel: Channel
  /// The connection that takes calls, or that is going to.
  private(set) var connection: Connection?
  /// How many connections were begun, the current one included.
  private(set) var connectionCount = 0
  /// Connections that finish what they have.
  private(set) var draining: [Connection] = []
  /// Why there is no connection.
  private(set) var trouble = "not connected yet"
  /// Whether the lack of a connection has been reported.
  private var isTroubled = false
  /// When the lack of a connection was reported the last time.
  private var lastWarning: UInt64?
  /// A member that takes connections and closes them is reported once in so many milliseconds.
  private static let warningInterval: UInt64 = 30_000
  /// When the last attempt to connect began.
  private var attemptedAt: UInt64 = 0
  /// Whether it was refused.
  private var wasRefused = false
  private var isRetired = false
  private var backoff: Backoff
  private var readySince: UInt64 = 0
  /// What its calls have come to.
  let counts: CallCounts
  private let loop: EventLoop
  private lazy var redial = LoopTimer(loop: loop) { [unowned self] in dial() }
  private lazy var leaderProbe = LeaderProbe(subchannel: self, loop: loop)

  /// Makes a member and begins to connect.
  init(_ endpoint: Endpoint, channel: Channel, loop: EventLoop) {
    self.endpoint = endpoint
    self.channel = channel
    self.loop = loop
    backoff = channel.configuration.backoff
    counts = channel.counts(of: endpoint)
    redial.start(after: 0)
  }

  // MARK: - Its use

  /// How much a call would rather go elsewhere; nil if it cannot go here.
  enum Rank: Int, Comparable {
    case none
    /// It takes no more calls until it has ended some.
    case full
    /// It owes answers and has said nothing for a while.
    case silent
    /// The call at hand has just failed here.
    case failed
    /// It has no leader, or is a learner, or was lost and has not shown since that it serves again.
    case unusable

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  /// Whether it takes another call now.
  var hasRoom: Bool { rank(failedAt: nil).map { $0 != .full && $0 != .unusable } ?? false }

  func rank(failedAt failed: ObjectIdentifier?) -> Rank? {
    guard let connection, connection.state == .ready else { return nil }
    if leaderProbe.isRefused { return .unusable }
    if failed == ObjectIdentifier(self) { return .failed }
    if connection.isSuspect { return .silent }
    return connection.session.isFull ? .full : Rank.none
  }

  /// Whether the endpoint refused the connection in an attempt that has begun after `time`. If the last one was earlier
  /// another one begins, whatever the backoff.
  func hasRefused(since time: UInt64) -> Bool {
    guard connection == nil, wasRefused else { return false }
    if attemptedAt > time { return true }
    redial.start(after: 0)
    return false
  }

  /// Finds out whether the member is of use, from now on or anew.
  func watch() {
    if let connection, connection.state == .ready { leaderProbe.start(on: connection) }
  }

  /// The member has said of itself that it is of no use for now.
  func isOfNoUse() { leaderProbe.refused() }

  /// Calls that wait here and may be repeated go elsewhere, if there is better.
  func giveUpCalls(_ status: GRPCStatus) { channel.move(callsOf: self, after: status) }

  // MARK: - Its connections

  private func dial() {
    guard connection == nil, !isRetired else { return }
    let connection = Connection(loop: loop, subchannel: self)
    self.connection = connection
    connectionCount += 1
    attemptedAt = loop.now
    counts.connects &+= 1
    connection.start(timeout: channel.configuration.dialTimeout)
  }

  /// Whether the connection has been of use for longer than a peer needs that refuses all clients.
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
      // A connection that has served for a while earns its endpoint a quick return.
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

  /// Whether calls are still under way.
  var isDraining: Bool { !draining.isEmpty }

  // MARK: - The end

  /// Takes no more calls; those under way go on.
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
