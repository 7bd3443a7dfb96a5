internal import EtcdSchema
import EventLoop
import Logging
internal import SwiftProtobuf

/// All watches of one user on one loop: feeds, which share one gRPC stream as far as that is safe (``WatchLine``).
///
/// When a line breaks, by whatever fault, its feeds are created again on another one, each after the last event it has
/// passed on. Follows the etcd documentation, "etcd API", Watch, and the behaviour of clientv3.
final class WatchStream {
  /// So many streams in a row may be of no use, each for no longer than a second, because of what etcd answers on them.
  private static let mostFaults = 5

  /// The client that the stream was opened for.
  let caller: Caller
  let loop: EventLoop
  private unowned let hub: WatchHub
  var carrier: any WatchCarrier { hub.carrier }
  var progressInterval: UInt64 { hub.progressInterval }
  /// The line that feeds share.
  private lazy var line = WatchLine(self)
  /// The lines of feeds that have one for themselves.
  private var ownLines: [WatchLine] = []
  /// Feeds by what they watch.
  private var groups: [WatchSpec: WatchGroup] = [:]
  /// Feeds that wait until etcd has answered earlier creations.
  private var queue: ArraySlice<WatchFeed> = []
  private(set) var clients: Set<ClientReference> = []
  /// The latest response header.
  private(set) var lastHeader: [UInt8] = []
  private var backoff = Backoff.stream
  /// How many streams in a row etcd has answered with what is not understood.
  private var faults = 0
  private lazy var reopenTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private lazy var retryTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private var probes: [WatchProbe] = []

  /// A client by identity; a client takes itself out before it goes.
  struct ClientReference: Hashable {
    unowned let client: WatchClient

    static func == (left: Self, right: Self) -> Bool { left.client === right.client }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(client)) }
  }

  init(hub: WatchHub, caller: Caller) {
    self.hub = hub
    self.caller = caller
    loop = hub.loop
  }

  var isUnused: Bool { clients.isEmpty }

  // MARK: - Clients

  func add(_ client: WatchClient) { clients.insert(ClientReference(client: client)) }

  func remove(_ client: WatchClient) {
    clients.remove(ClientReference(client: client))
    closeIfUnused()
  }

  /// Gives a watch what it is to read: a feed that has all it needs, else one of its own.
  func attach(_ watch: Watch) {
    let group = groups[watch.spec] ?? WatchGroup()
    groups[watch.spec] = group
    if watch.isCreated, let main = group.main, main.isCaughtUp, main.position <= watch.position {
      return main.add(watch)
    }
    let start = watch.isCreated ? watch.position &+ 1 : watch.startRevision
    if let feed = group.feeds.first(where: { $0.isNew && $0.startRevision == start }) {
      // Not asked for yet: etcd's answer will be as true for this watch.
      return feed.add(watch)
    }
    let feed = WatchFeed(watch.spec, startRevision: start, birth: loop.now)
    feed.add(watch)
    group.feeds.append(feed)
    request(feed)
  }

  /// Takes a watch from what it reads; nobody's feed is ended at etcd.
  func detach(_ watch: Watch) {
    guard let feed = watch.feed else { return }
    feed.remove(watch)
    if feed.readerCount == 0 { close(feed) }
  }

  /// Asks etcd for its progress.
  func requestProgress() {
    line.requestProgress()
    for line in ownLines { line.requestProgress() }
  }

  /// Ends the stream where nobody needs it.
  func closeIfUnused() {
    guard isUnused || groups.isEmpty && !clients.contains(where: \.client.hasWatches) else { return }
    drop()
    if isUnused { hub.forget(self) }
  }

  /// Ends all watches with an error.
  func fail(_ status: GrpcStatus) {
    drop()
    for reference in clients { reference.client.ended(with: status) }
  }

  /// Ends the stream at etcd.
  private func drop() {
    reopenTimer.stop()
    retryTimer.stop()
    for probe in probes { probe.cancel(on: carrier) }
    probes = []
    forget(line)
    for line in ownLines { forget(line) }
  }

  // MARK: - Feeds

  /// Ends a feed at etcd.
  ///
  /// - Parameter isOver: whether it is not needed even if somebody reads it.
  private func close(_ feed: WatchFeed, isOver: Bool = false) {
    let line = feed.line
    if let line, line.loner != nil {
      release(line)
    } else {
      if case .live(let id) = feed.state { line?.cancel(id) }
      // One that is being created stays where its answer is awaited, and is closed then.
      if case .creating = feed.state, !isOver { return }
    }
    feed.state = .ended
    forget(feed)
  }

  private func forget(_ feed: WatchFeed) {
    guard let group = groups[feed.spec] else { return }
    group.feeds.removeAll { $0 === feed }
    if group.main === feed { group.main = nil }
    if group.feeds.isEmpty { groups[feed.spec] = nil }
  }

  private var allFeeds: [WatchFeed] { groups.values.flatMap(\.feeds) }

  private func requestAll() {
    for feed in allFeeds { request(feed) }
  }

  /// Has etcd create a feed that waits for that, unless etcd is answering for one like it: those who want the same gather
  /// behind the next.
  private func request(_ feed: WatchFeed) {
    guard case .waiting = feed.state, !reopenTimer.isActive, let group = groups[feed.spec] else { return }
    guard !group.feeds.contains(where: { $0.isAwaited && $0.nextRevision == feed.nextRevision }) else { return }
    if let old = feed.line, old.loner != nil { release(old) }
    if feed.isSuspect || feed.spec.isLarge {
      let own = WatchLine(self, for: feed)
      ownLines.append(own)
      own.create(feed)
    } else if line.takesCreations {
      line.create(feed)
    } else if !feed.isQueued {
      feed.isQueued = true
      queue.append(feed)
    }
  }

  /// Has etcd create what waits for its turn.
  private func requestQueued() {
    while line.takesCreations, !reopenTimer.isActive, let feed = queue.popFirst() {
      feed.isQueued = false
      request(feed)
    }
  }

  /// Has the readers of a feed join those of another one of the same watch, once nothing that they need has passed there.
  private func merge(_ feed: WatchFeed) {
    guard case .live = feed.state, feed.isCaughtUp, let group = groups[feed.spec] else { return }
    guard let main = group.main, case .live = main.state, main.isCaughtUp, main !== feed else {
      group.main = feed
      return
    }
    let (small, large) = feed.readerCount <= main.readerCount ? (feed, main) : (main, feed)
    guard small.position >= large.position else { return }
    for watch in small.readers {
      guard let watch else { continue }
      small.remove(watch)
      large.add(watch)
    }
    close(small)
    group.main = large
  }

  // MARK: - From etcd

  func line(_ line: WatchLine, received message: WatchMessage, for feed: WatchFeed) {
    lastHeader = message.header
    backoff.reset()
    if message.isCanceled {
      end(feed, with: message)
    } else {
      feed.received(message)
      merge(feed)
    }
  }

  /// etcd has answered the creation of a feed.
  func line(_ line: WatchLine, answered feed: WatchFeed, _ message: WatchMessage) {
    lastHeader = message.header
    let spec = feed.spec
    if message.isCanceled {
      refused(feed, message)
    } else {
      backoff.reset()
      created(feed, message)
    }
    for other in groups[spec]?.feeds ?? [] { request(other) }
    requestQueued()
  }

  private func created(_ feed: WatchFeed, _ message: WatchMessage) {
    feed.created(message, at: loop.now)
    guard feed.readerCount == 0 else { return merge(feed) }
    close(feed)
    closeIfUnused()
  }

  private func end(_ feed: WatchFeed, with message: WatchMessage) {
    if let line = feed.line, line.loner != nil { release(line) }
    forget(feed)
    feed.end(with: message)
    closeIfUnused()
  }

  /// etcd does not create the watch. Where that may be for the token's sake, which 3.4 does not tell from a lack of rights,
  /// it is found out first.
  private func refused(_ feed: WatchFeed, _ message: WatchMessage) {
    feed.denials += 1
    feed.state = .waiting
    if case .none = caller.credentials, !feed.wasCreated, message.cancelReason.hasSuffix(EtcdMessage.userEmpty) {
      // Told as for any other call: the client is asked who it is.
      return fail(feed, GrpcStatus(.invalidArgument, EtcdMessage.userEmpty, origin: .server))
    }
    guard case .user = caller.credentials, feed.denials < 3, feed.readerCount > 0,
      EtcdMessage.mayBeTokens.contains(where: { message.cancelReason.hasSuffix($0) })
    else { return end(feed, with: message) }
    feed.state = .doubtful
    let refusing = feed.line
    let probe = WatchProbe(WatchRange(feed.spec), stream: self) { [unowned self] probe, status in
      probes.removeAll { $0 === probe }
      guard case .doubtful = feed.state else { return }
      feed.state = .waiting
      judge(feed, message, by: refusing, status)
    }
    probes.append(probe)
    probe.start(on: carrier, for: caller)
  }

  private func judge(_ feed: WatchFeed, _ message: WatchMessage, by refusing: WatchLine?, _ status: GrpcStatus) {
    switch (status.code, status.origin) {
    case (.ok, _), (.outOfRange, _):
      // The user may: it was the token of that stream, of which there is a new one by now.
      renew(refusing, because: message.cancelReason)
      request(feed)
    case (.permissionDenied, .server):
      // Nobody who shares the watch may have it any longer, though etcd asks only those who come.
      for other in groups[feed.spec]?.feeds ?? [feed] {
        if other !== feed { close(other, isOver: true) }
        forget(other)
        other.end(with: message.isDenied ? message : message.denied)
      }
      closeIfUnused()
    case (_, .login) where !status.isPassing:
      fail(status)
    case _ where status.isLoss:
      // The question itself may be what ends etcd.
      abandon(feed, status)
    default:
      // Nothing was found out: it is asked again, for as long as a call may wait.
      feed.denials -= 1
      if !feed.wasCreated && loop.now - feed.birth >= hub.patience { fail(feed, status) }
      retryTimer.start(after: 100)
    }
  }

  /// etcd has named its progress.
  ///
  /// - Parameter isMark: whether that is a good while after the last time.
  func line(_ line: WatchLine, progressed message: WatchMessage, isMark: Bool) {
    lastHeader = message.header
    if isMark {
      for feed in line.live.values {
        feed.progressed(to: message.revision)
        merge(feed)
      }
    }
    for reference in clients { reference.client.progressed(to: message.revision, header: message.header, on: line) }
  }

  // MARK: - Failure

  /// Ends a line that a feed had for itself.
  private func release(_ own: WatchLine) {
    own.drop()
    ownLines.removeAll { $0 === own }
  }

  /// Ends a line, and takes its feeds back to before they were created there.
  private func forget(_ old: WatchLine) {
    release(old)
    if old === line {
      line = WatchLine(self)
      for feed in queue { feed.isQueued = false }
      queue = []
    }
    for feed in allFeeds where feed.line === old {
      feed.line = nil
      guard feed.readerCount > 0 else {
        feed.state = .ended
        forget(feed)
        continue
      }
      switch feed.state {
      case .creating, .live: feed.state = .waiting
      case .waiting, .doubtful, .ended: break
      }
    }
  }

  /// Opens another stream in place of one whose token is no longer good, unless that has been done.
  private func renew(_ old: WatchLine?, because reason: String) {
    guard let old, old === line || old.loner != nil else { return }
    hub.logger.debug("a watch stream begins anew", metadata: ["reason": "\(reason)"])
    forget(old)
    if old.loner == nil { reopenTimer.start(after: backoff.wait()) }
  }

  /// A line has ended. Watches go on where they were, on another one, if there is hope.
  func line(_ old: WatchLine, endedWith status: GrpcStatus) {
    let suspects = old.unanswered
    let wasOfUse = old.wasOfUse
    if status.isLoss { for feed in allFeeds where feed.line === old { feed.wasLost(at: loop.now) } }
    forget(old)
    guard !hub.isClosed else { return fail(status) }
    if status.mayBeOfOneRequest {
      if let loner = old.loner { return refuse(loner, status) }
      guard wasOfUse || !suspects.isEmpty else { return fail(status) }
      // One of those that etcd has not answered is at fault: each is asked for alone, and the others go on without them.
      for feed in suspects { feed.isSuspect = true }
    } else if !status.isPassing {
      return fail(status)
    }
    for feed in allFeeds where feed.isDangerous { abandon(feed, status) }
    for feed in allFeeds where !feed.wasCreated && loop.now - feed.birth >= hub.patience { fail(feed, status) }
    guard !groups.isEmpty else { return closeIfUnused() }
    hub.logger.debug("a watch stream begins anew", metadata: ["reason": "\(status.message)"])
    // A feed that is alone delays no others.
    if old.loner == nil { reopenTimer.start(after: backoff.wait()) } else { retryTimer.start(after: 100) }
  }

  /// etcd has answered on a line what it never does. That may pass with another member, but is not asked for without end.
  func line(_ old: WatchLine, isMisunderstood fault: String) {
    let status = GrpcStatus(.internal, "an answer of etcd is not understood: \(fault)")
    faults = loop.now - old.openedAt < 1000 ? faults + 1 : 1
    guard faults < Self.mostFaults else {
      faults = 0
      return fail(status)
    }
    line(old, endedWith: status)
  }

  /// Ends everybody who reads a feed that etcd may have died of.
  private func abandon(_ feed: WatchFeed, _ status: GrpcStatus) {
    var status = status
    status.message += "; the watch may be what ends etcd, and is not created again"
    for watch in feed.readers {
      // The end of one client may have taken others of its watches along.
      if let watch, watch.feed === feed { watch.client.ended(with: status) }
    }
    closeIfUnused()
  }

  /// Ends a feed that etcd does not take, and nothing else.
  private func refuse(_ feed: WatchFeed, _ status: GrpcStatus) {
    for watch in feed.readers {
      // A client that has nothing else is told of it as of any call that fails.
      if let watch, watch.feed === feed, watch.client.isAbout(watch) { watch.client.ended(with: status) }
    }
    guard feed.readerCount > 0 else { return closeIfUnused() }
    end(feed, with: .refusal(header: lastHeader, reason: status.text))
  }

  /// Ends the clients who have not seen their watch created: they wait no longer than for any call.
  private func fail(_ feed: WatchFeed, _ status: GrpcStatus) {
    for watch in feed.readers {
      // The end of one client may have taken others of its watches along.
      if let watch, watch.feed === feed, !watch.isCreated { watch.client.ended(with: status) }
    }
    closeIfUnused()
  }
}
