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
    path: "/etcdserverpb.Watch/Watch", isRepeatable: true, isStream: true, requiresLeader: true)

  let credentials: CallCredentials
  private let loop: EventLoop
  private unowned let hub: WatchHub
  private var carrier: any WatchCarrier { hub.carrier }
  private var call: Call?
  private var incoming: [UInt8] = []
  /// Feeds by what they watch. Of each there is one in the long run, and more while some catch up with it.
  private var feeds: [WatchSpec: [WatchFeed]] = [:]
  /// Feeds by etcd's watch ID on the stream.
  private var live: [Int64: WatchFeed] = [:]
  /// Feeds whose creation etcd has not answered yet, in the order of the requests, which is that of the answers.
  private var creating: [WatchFeed] = []
  private(set) var clients: Set<ClientReference> = []
  /// The latest response header.
  private(set) var lastHeader: [UInt8] = []
  private var backoff = WatchBackoff()
  private lazy var reopenTimer = LoopTimer(loop: loop) { [unowned self] in pump() }
  private lazy var progressTimer = LoopTimer(loop: loop) { [unowned self] in lookAfterProgress() }
  private var lastProgress: UInt64 = 0
  private var probes: [WatchProbe] = []
  /// Feeds that etcd has yet to be asked for.
  private var waiting: [WatchFeed] = []

  /// A client by identity; a client takes itself out before it goes.
  struct ClientReference: Hashable {
    unowned let client: WatchClient

    static func == (left: Self, right: Self) -> Bool { left.client === right.client }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(client)) }
  }

  init(hub: WatchHub, credentials: CallCredentials) {
    self.hub = hub
    self.credentials = credentials
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
    let known = feeds[watch.spec] ?? []
    if watch.isCreated, let feed = known.first(where: { $0.isCaughtUp && $0.position <= watch.position }) {
      return feed.add(watch)
    }
    let start = watch.isCreated ? watch.position + 1 : watch.startRevision
    if let feed = known.first(where: { $0.isNew && $0.startRevision == start }) {
      // Not asked for yet: etcd's answer will be as true for this watch.
      return feed.add(watch)
    }
    let feed = WatchFeed(watch.spec, startRevision: start, birth: loop.now)
    feed.add(watch)
    feeds[watch.spec, default: []].append(feed)
    waiting.append(feed)
    pump()
  }

  /// Takes a watch from what it reads; nobody's feed is ended at etcd.
  func detach(_ watch: Watch) {
    guard let feed = watch.feed else { return }
    feed.remove(watch)
    if feed.readerCount == 0 { close(feed) }
  }

  /// Asks etcd for its progress.
  func requestProgress() {
    guard let call else { return }
    var request = Etcdserverpb_WatchRequest()
    request.progressRequest = Etcdserverpb_WatchProgressRequest()
    carrier.send(Self.encode(request), on: call)
  }

  /// Ends the stream where nobody needs it.
  func closeIfUnused() {
    guard isUnused || feeds.isEmpty && !clients.contains(where: \.client.hasWatches) else { return }
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
    progressTimer.stop()
    if let call { carrier.cancel(call) }
    call = nil
    for probe in probes { probe.cancel(on: carrier) }
    probes = []
    forgetUpstream()
  }

  // MARK: - Feeds

  private func close(_ feed: WatchFeed) {
    if case .live(let id) = feed.state {
      live[id] = nil
      var request = Etcdserverpb_WatchRequest()
      request.cancelRequest.watchID = id
      if let call { carrier.send(Self.encode(request), on: call) }
    }
    // One that is being created stays where its answer is awaited, and is closed then.
    if case .creating = feed.state { return }
    feed.state = .ended
    forget(feed)
  }

  private func forget(_ feed: WatchFeed) {
    feeds[feed.spec]?.removeAll { $0 === feed }
    if feeds[feed.spec]?.isEmpty == true { feeds[feed.spec] = nil }
  }

  /// Has etcd create what is waiting, on a stream that is opened where there is none.
  private func pump() {
    guard !reopenTimer.isActive, !waiting.isEmpty else { return }
    let candidates = waiting
    waiting = []
    for feed in candidates {
      guard case .waiting = feed.state else { continue }
      // While etcd answers one, those who want the same gather behind the next.
      let twin = feeds[feed.spec]?.contains { $0.isAwaited && $0.nextRevision == feed.nextRevision }
      if twin == true { waiting.append(feed) } else { create(feed) }
    }
  }

  private func create(_ feed: WatchFeed) {
    var request = Etcdserverpb_WatchRequest()
    guard var creation = try? Etcdserverpb_WatchCreateRequest(serializedBytes: feed.spec.request) else { return }
    creation.startRevision = feed.nextRevision
    request.createRequest = creation
    feed.state = .creating
    creating.append(feed)
    let message = Self.encode(request)
    if let call {
      carrier.send(message, on: call)
    } else {
      let call = Call(Self.method, message: message, timeout: nil, delegate: self)
      self.call = call
      carrier.start(call, credentials: credentials)
    }
  }

  private static func encode(_ request: Etcdserverpb_WatchRequest) -> CallMessage {
    let bytes: [UInt8] = (try? request.serializedBytes()) ?? []
    return CallMessage(copying: bytes)
  }

  /// Has the readers of a feed join another one of the same watch, once nothing that they need has passed there.
  private func merge(_ feed: WatchFeed) {
    guard case .live = feed.state, let group = feeds[feed.spec], group.count > 1 else { return }
    for other in group where other !== feed {
      guard case .live = other.state else { continue }
      let (small, large) = feed.readerCount <= other.readerCount ? (feed, other) : (other, feed)
      if small.mayJoin(large) {
        move(small, to: large)
      } else if !large.isCaughtUp && large.mayJoin(small) {
        move(large, to: small)
      } else {
        continue
      }
      if case .live = feed.state { continue }
      return merge(other)
    }
  }

  private func move(_ feed: WatchFeed, to other: WatchFeed) {
    for watch in feed.readers {
      guard let watch else { continue }
      feed.remove(watch)
      other.add(watch)
    }
    close(feed)
  }

  // MARK: - From etcd

  private func take(_ message: WatchMessage) {
    lastHeader = message.header
    if message.isCreated {
      guard !creating.isEmpty else { return restart(GrpcStatus(.internal, "etcd created a watch nobody asked for")) }
      let feed = creating.removeFirst()
      if message.isCanceled { refused(feed, message) } else { created(feed, message) }
      pump()
    } else if message.watchID == -1 && !message.isCanceled {
      progressed(message)
    } else if let feed = live[message.watchID] {
      if message.isCanceled {
        live[message.watchID] = nil
        forget(feed)
        feed.end(with: message)
        closeIfUnused()
      } else {
        feed.received(message)
        merge(feed)
      }
    }
  }

  private func created(_ feed: WatchFeed, _ message: WatchMessage) {
    live[message.watchID] = feed
    feed.created(message)
    if !progressTimer.isActive { progressTimer.start(after: hub.progressInterval, every: hub.progressInterval) }
    if feed.readerCount == 0 { close(feed) } else { merge(feed) }
  }

  /// etcd does not create the watch. Where that may be for the token's sake, which 3.4 does not tell from a lack of rights,
  /// it is found out first.
  private func refused(_ feed: WatchFeed, _ message: WatchMessage) {
    feed.denials += 1
    guard case .user = credentials, feed.denials < 3, feed.readerCount > 0,
      EtcdMessage.mayBeTokens.contains(where: { message.cancelReason.hasSuffix($0) })
    else {
      forget(feed)
      feed.end(with: message)
      return closeIfUnused()
    }
    feed.state = .doubtful
    let probe = WatchProbe(feed.spec.range, stream: self) { [unowned self] probe, status in
      probes.removeAll { $0 === probe }
      judge(feed, message, status)
    }
    probes.append(probe)
    probe.start(on: carrier, credentials: credentials)
  }

  private func judge(_ feed: WatchFeed, _ message: WatchMessage, _ status: GrpcStatus) {
    guard case .doubtful = feed.state else { return }
    feed.state = .waiting
    waiting.append(feed)
    switch status.code {
    case .ok, .outOfRange:
      // The user may: it was the token, of which there is a new one by now.
      restart(GrpcStatus(.unauthenticated, message.cancelReason))
    case .permissionDenied:
      forget(feed)
      feed.end(with: message)
      closeIfUnused()
    default:
      ended(with: status)
    }
  }

  private func progressed(_ message: WatchMessage) {
    for feed in live.values { feed.progressed(to: message.revision) }
    let response = WatchResponse(header: lastHeader)
    for reference in clients { reference.client.progressed(response) }
  }

  private func lookAfterProgress() {
    // What was asked before the loop stood still may have been overtaken by what has not been read.
    if loop.now - lastProgress > 2 * hub.progressInterval { for feed in live.values { feed.forgetProgress() } }
    lastProgress = loop.now
    requestProgress()
  }

  // MARK: - Failure

  /// Takes all feeds back to before they were created upstream.
  private func forgetUpstream() {
    incoming = []
    progressTimer.stop()
    creating = []
    live = [:]
    for feed in Array(feeds.values.joined()) {
      guard feed.readerCount > 0 else {
        feed.state = .ended
        forget(feed)
        continue
      }
      switch feed.state {
      case .creating, .live:
        feed.state = .waiting
        waiting.append(feed)
      case .waiting, .doubtful, .ended: break
      }
    }
  }

  /// Begins anew on another stream, at once.
  private func restart(_ status: GrpcStatus) {
    hub.logger.debug("a watch stream begins anew", metadata: ["reason": "\(status.message)"])
    if let call { carrier.cancel(call) }
    call = nil
    forgetUpstream()
    reopenTimer.start(after: 0)
  }

  /// The stream has ended. Watches go on where they were, on another one, if there is hope.
  private func ended(with status: GrpcStatus) {
    if let call { carrier.cancel(call) }
    call = nil
    forgetUpstream()
    guard status.isPassing, !hub.isClosed else { return fail(status) }
    // Those who have not seen their watch created wait no longer than for any call.
    for feed in Array(feeds.values.joined()) where !feed.wasCreated && loop.now - feed.birth >= hub.patience {
      for watch in feed.readers {
        if let watch, !watch.isCreated { watch.client.ended(with: status) }
      }
    }
    guard !feeds.isEmpty else { return closeIfUnused() }
    hub.logger.debug("a watch stream has broken", metadata: ["reason": "\(status.message)"])
    reopenTimer.start(after: backoff.wait())
  }
}

extension WatchFeed {
  /// Whether all that the readers need of `other` is still to come there. One that has yet to catch up is joined by nobody:
  /// compaction may end it.
  fileprivate func mayJoin(_ other: WatchFeed) -> Bool { other.isCaughtUp && position >= other.position }

  /// Whether it can take readers who have seen nothing yet.
  fileprivate var isNew: Bool {
    if case .waiting = state { !wasCreated } else { false }
  }

  /// Whether etcd's answer to its creation is awaited.
  fileprivate var isAwaited: Bool {
    if case .creating = state { true } else { false }
  }
}

extension WatchStream: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    incoming = []
    incoming.reserveCapacity(min(length, 4 << 20))
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { incoming += bytes }

  func callReceivedMessage(_ call: Call) {
    guard call === self.call else { return }
    backoff.reset()
    do {
      take(try WatchMessage(incoming))
    } catch {
      restart(GrpcStatus(.internal, "a watch response of etcd is not understood"))
    }
  }

  func call(_ call: Call, endedWith status: GrpcStatus) {
    guard call === self.call else { return }
    self.call = nil
    ended(with: status.isOK ? GrpcStatus(.unavailable, "etcd ended the watch stream") : status)
  }

  func credentials(for call: Call) -> BasicCredentials {
    clients.first.map { $0.client.delegate.credentials(for: $0.client) } ?? BasicCredentials(user: "", password: "")
  }

  func peer(of call: Call) -> String { clients.first?.client.peer ?? "" }
}

/// The waits before a broken watch stream is opened again, in milliseconds (clientv3: from 1 to 100, each a quarter longer).
private struct WatchBackoff {
  private var next = 1.0

  mutating func wait() -> UInt64 {
    defer { next = min(next * 1.25, 100) }
    return UInt64(next)
  }

  mutating func reset() { next = 1 }
}
