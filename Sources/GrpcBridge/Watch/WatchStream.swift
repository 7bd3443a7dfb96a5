internal import EtcdSchema
import EventLoop
import Logging
internal import SwiftProtobuf

/// All watches of one user on one loop: one gRPC Watch stream, on which each feed is a watcher.
///
/// When the stream breaks, by whatever fault, all feeds are created again on another one, each after the last event it has
/// passed on. Follows the etcd documentation, "etcd API", Watch, and the behaviour of clientv3.
final class WatchStream {
  private static let method = CallMethod(
    path: "/etcdserverpb.Watch/Watch", isRepeatable: false, isStream: true, requiresLeader: true, isResumable: true)
  /// How large a response may be, in bytes. Fragments are some 1.5 MiB, but for a single event.
  private static let mostBytes = 1 << 29
  /// So many streams in a row may be of no use, each for no longer than a second, because of what etcd answers on them.
  private static let mostFaults = 5

  /// The client that the stream was opened for.
  let caller: Caller
  private let loop: EventLoop
  private unowned let hub: WatchHub
  private var carrier: any WatchCarrier { hub.carrier }
  var call: Call?
  /// The message that is being received.
  var incoming: [UInt8] = []
  /// Feeds by what they watch.
  private var groups: [WatchSpec: WatchGroup] = [:]
  /// Feeds by etcd's watch ID on the stream.
  private var live: [Int64: WatchFeed] = [:]
  /// Feeds whose creation etcd has not answered yet, in the order of the requests, which is that of the answers.
  private var creating: [WatchFeed] = []
  /// How many of them have been answered.
  private var answeredCount = 0
  /// The watch ID of the last creation on this stream. We choose them ourselves: 3.5.1 refuses a watch without an ID in the
  /// name of the first one on the stream, and sends that one no more events.
  private var lastID: Int64 = 0
  private(set) var clients: Set<ClientReference> = []
  /// The latest response header.
  private(set) var lastHeader: [UInt8] = []
  private var backoff = Backoff.stream
  /// When the stream was opened, and how many in a row etcd has answered with what is not understood.
  private var openedAt: UInt64 = 0
  private var faults = 0
  private lazy var reopenTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private lazy var retryTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private lazy var progressTimer = LoopTimer(loop: loop) { [unowned self] in lookAfterProgress() }
  /// When etcd's progress was last taken as a mark for quiet feeds.
  private var lastMark: UInt64 = 0
  /// Whether etcd was asked for its progress and has not answered.
  private var isProgressing = false
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

  /// Asks etcd for its progress, unless its answer is awaited already.
  func requestProgress() {
    guard let call, !isProgressing else { return }
    isProgressing = true
    var request = Etcdserverpb_WatchRequest()
    request.progressRequest = Etcdserverpb_WatchProgressRequest()
    carrier.send(Self.encode(request), on: call)
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
    if let call { carrier.cancel(call) }
    call = nil
    for probe in probes { probe.cancel(on: carrier) }
    probes = []
    forgetUpstream()
  }

  // MARK: - Feeds

  /// Ends a feed at etcd.
  ///
  /// - Parameter isOver: whether it is not needed even if somebody reads it.
  private func close(_ feed: WatchFeed, isOver: Bool = false) {
    if case .live(let id) = feed.state {
      live[id] = nil
      var request = Etcdserverpb_WatchRequest()
      request.cancelRequest.watchID = id
      if let call { carrier.send(Self.encode(request), on: call) }
    }
    // One that is being created stays where its answer is awaited, and is closed then.
    if case .creating = feed.state, !isOver { return }
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
    create(feed)
  }

  private func create(_ feed: WatchFeed) {
    var request = Etcdserverpb_WatchRequest()
    guard var creation = try? Etcdserverpb_WatchCreateRequest(serializedBytes: feed.spec.request) else { return }
    creation.startRevision = feed.nextRevision
    lastID += 1
    creation.watchID = lastID
    request.createRequest = creation
    feed.state = .creating
    creating.append(feed)
    let message = Self.encode(request)
    if let call {
      carrier.send(message, on: call)
    } else {
      let call = Call(Self.method, message: message, timeout: nil, delegate: self)
      call.mostBytes = Self.mostBytes
      openedAt = loop.now
      self.call = call
      carrier.start(call, for: caller)
    }
  }

  private static func encode(_ request: Etcdserverpb_WatchRequest) -> CallMessage {
    let bytes: [UInt8] = (try? request.serializedBytes()) ?? []
    return CallMessage(copying: bytes)
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

  func take(_ message: WatchMessage) {
    lastHeader = message.header
    if message.isCreated {
      answered(message)
    } else if message.watchID == -1 && !message.isCanceled {
      progressed(message)
    } else if let feed = live[message.watchID] {
      backoff.reset()
      if message.isCanceled {
        live[message.watchID] = nil
        end(feed, with: message)
      } else {
        feed.received(message)
        merge(feed)
      }
    }
  }

  /// etcd answers the oldest creation.
  private func answered(_ message: WatchMessage) {
    guard answeredCount < creating.count else {
      return misunderstood("a watch was created that nobody asked for")
    }
    let feed = creating[answeredCount]
    answeredCount += 1
    if answeredCount == creating.count {
      creating.removeAll(keepingCapacity: true)
      answeredCount = 0
    }
    let spec = feed.spec
    if message.isCanceled {
      refused(feed, message)
    } else {
      backoff.reset()
      created(feed, message)
    }
    for other in groups[spec]?.feeds ?? [] { request(other) }
  }

  private func created(_ feed: WatchFeed, _ message: WatchMessage) {
    live[message.watchID] = feed
    feed.created(message, at: loop.now)
    if !progressTimer.isActive { progressTimer.start(after: hub.progressInterval, every: hub.progressInterval) }
    guard feed.readerCount == 0 else { return merge(feed) }
    close(feed)
    closeIfUnused()
  }

  private func end(_ feed: WatchFeed, with message: WatchMessage) {
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
    let refusing = call
    let probe = WatchProbe(WatchRange(feed.spec), stream: self) { [unowned self] probe, status in
      probes.removeAll { $0 === probe }
      guard case .doubtful = feed.state else { return }
      feed.state = .waiting
      judge(feed, message, by: refusing, status)
    }
    probes.append(probe)
    probe.start(on: carrier, for: caller)
  }

  private func judge(_ feed: WatchFeed, _ message: WatchMessage, by refusing: Call?, _ status: GrpcStatus) {
    switch (status.code, status.origin) {
    case (.ok, _), (.outOfRange, _):
      // The user may: it was the token of that stream, of which there is a new one by now.
      if call === refusing { begin(again: GrpcStatus(.unauthenticated, message.cancelReason)) } else { request(feed) }
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

  private func progressed(_ message: WatchMessage) {
    isProgressing = false
    // Only answers that are far apart are marks; clients may ask at any time.
    if loop.now - lastMark >= hub.progressInterval / 2 {
      lastMark = loop.now
      for feed in live.values {
        feed.progressed(to: message.revision)
        merge(feed)
      }
    }
    let response = WatchResponse(header: lastHeader)
    for reference in clients { reference.client.progressed(response) }
  }

  private func lookAfterProgress() {
    // An answer that has not come is not awaited any longer: some versions give none while a watcher is catching up.
    isProgressing = false
    requestProgress()
  }

  // MARK: - Failure

  /// Takes all feeds back to before they were created upstream.
  private func forgetUpstream() {
    incoming = []
    progressTimer.stop()
    isProgressing = false
    creating = []
    answeredCount = 0
    lastID = 0
    live = [:]
    for feed in allFeeds {
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

  /// Begins anew on another stream.
  private func begin(again reason: GrpcStatus) {
    hub.logger.debug("a watch stream begins anew", metadata: ["reason": "\(reason.message)"])
    if let call { carrier.cancel(call) }
    call = nil
    forgetUpstream()
    reopenTimer.start(after: backoff.wait())
  }

  /// The stream has ended. Watches go on where they were, on another one, if there is hope.
  func ended(with status: GrpcStatus) {
    call = nil
    if status.isLoss { for feed in allFeeds { feed.wasLost(at: loop.now) } }
    forgetUpstream()
    guard status.isPassing, !hub.isClosed else { return fail(status) }
    for feed in allFeeds where feed.isDangerous { abandon(feed, status) }
    for feed in allFeeds where !feed.wasCreated && loop.now - feed.birth >= hub.patience { fail(feed, status) }
    guard !groups.isEmpty else { return closeIfUnused() }
    begin(again: status)
  }

  /// etcd has answered what it never does. That may pass with another member, but is not asked for without end.
  func misunderstood(_ fault: String) {
    let status = GrpcStatus(.internal, "an answer of etcd is not understood: \(fault)")
    faults = loop.now - openedAt < 1000 ? faults + 1 : 1
    guard faults < Self.mostFaults else {
      faults = 0
      return fail(status)
    }
    begin(again: status)
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

  /// Ends the clients who have not seen their watch created: they wait no longer than for any call.
  private func fail(_ feed: WatchFeed, _ status: GrpcStatus) {
    for watch in feed.readers {
      // The end of one client may have taken others of its watches along.
      if let watch, watch.feed === feed, !watch.isCreated { watch.client.ended(with: status) }
    }
    closeIfUnused()
  }
}
