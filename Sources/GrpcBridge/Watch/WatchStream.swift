internal import DequeModule
internal import EtcdSchema
import EventLoop
import Logging
internal import SwiftProtobuf

/// All watches of one user on one loop: watchers, which share one gRPC stream as far as that is safe (``WatchLine``).
///
/// When a line breaks, for whatever reason, its watchers are created again on another one, each after the last event
/// that it has passed on. Follows the etcd documentation, "etcd API", Watch, and the behaviour of clientv3.
final class WatchStream {
  /// So many streams in a row may be of no use because of etcd's answers on them, each for a second at most.
  private static let maxFaults = 5

  /// The client for which the stream was opened.
  let caller: Caller
  let loop: EventLoop
  private unowned let hub: WatchHub
  var carrier: any WatchCarrier { hub.carrier }
  var progressInterval: UInt64 { hub.progressInterval }
  var memory: (any WatchMemory)? { hub.memory }
  /// The line that watchers share.
  private lazy var line = WatchLine(self)
  /// The lines of watchers that have one for themselves.
  private var ownLines: [ObjectIdentifier: WatchLine] = [:]
  /// Watchers by what they watch.
  private var groups: [WatchSpec: WatchGroup] = [:]
  /// Watchers that wait until etcd has answered earlier creations.
  private var queue: Deque<UpstreamWatcher> = []
  private(set) var clients: Set<ClientReference> = []
  /// The latest response header.
  private(set) var lastHeader: [UInt8] = []
  private var backoff = Backoff.stream
  /// How many streams in a row etcd has answered in a way that is not understood.
  private var faults = 0
  private lazy var reopenTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private lazy var retryTimer = LoopTimer(loop: loop) { [unowned self] in requestAll() }
  private var probes: [ObjectIdentifier: WatchProbe] = [:]

  /// A client by identity; a client removes itself before it is released.
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
  /// How many watches clients have, and how many watchers serve them.
  var watchCount: Int { clients.reduce(0) { $0 + $1.client.watchCount } }
  var watcherCount: Int { groups.values.reduce(0) { $0 + $1.watchers.count } }

  // MARK: - Clients

  func add(_ client: WatchClient) { clients.insert(ClientReference(client: client)) }

  func remove(_ client: WatchClient) {
    clients.remove(ClientReference(client: client))
    closeIfUnused()
  }

  /// Gives a watch its watcher: an existing one that has all it needs, or one of its own.
  func attach(_ watch: Watch) {
    let group = groups[watch.spec] ?? WatchGroup()
    groups[watch.spec] = group
    if watch.isCreated, let main = group.main, main.isCaughtUp, main.position <= watch.position {
      return main.add(watch)
    }
    let start = watch.isCreated ? watch.position &+ 1 : watch.startRevision
    if let newcomer = group.newcomer(from: start) { return newcomer.add(watch) }
    let watcher = UpstreamWatcher(watch.spec, startRevision: start, birth: loop.now, memory: memory)
    watcher.add(watch)
    group.add(watcher)
    request(watcher)
  }

  /// Removes a watch from its watcher, which is not ended at etcd.
  func detach(_ watch: Watch) {
    guard let watcher = watch.watcher else { return }
    watcher.remove(watch)
    if watcher.readerCount == 0 { close(watcher) }
  }

  /// Asks etcd for its progress.
  func requestProgress() {
    line.requestProgress()
    for line in ownLines.values { line.requestProgress() }
  }

  /// Ends the stream if it is not needed.
  func closeIfUnused() {
    guard isUnused || groups.isEmpty && !clients.contains(where: \.client.hasWatches) else { return }
    drop()
    if isUnused { hub.forget(self) }
  }

  /// Ends all watches with an error.
  func fail(_ status: GRPCStatus) {
    drop()
    for reference in clients { reference.client.ended(with: status) }
  }

  /// Ends the stream at etcd, with all its watchers.
  private func drop() {
    reopenTimer.stop()
    retryTimer.stop()
    for probe in probes.values { probe.cancel(on: carrier) }
    probes = [:]
    forget(line)
    for line in ownLines.values { forget(line) }
    for group in groups.values { _ = group.removeAll() }
    groups = [:]
  }

  // MARK: - Watchers

  /// Ends a watcher at etcd.
  ///
  /// - Parameter isOver: whether to end it even if it has readers.
  private func close(_ watcher: UpstreamWatcher, isOver: Bool = false) {
    let line = watcher.line
    if let line, line.loner != nil {
      release(line)
    } else {
      if case .live(let id) = watcher.state { line?.cancel(id) }
      // A watcher that is being created stays until etcd's answer has come, and is closed then.
      if case .creating = watcher.state, !isOver { return }
    }
    watcher.state = .ended
    if let next = forget(watcher) { request(next) }
  }

  /// Removes a watcher from its group, if it has not left that.
  ///
  /// - Returns: the watcher that has waited for this one and has yet to be requested; nil if there is none.
  @discardableResult
  private func forget(_ watcher: UpstreamWatcher) -> UpstreamWatcher? {
    guard let group = watcher.group else { return nil }
    let next = group.remove(watcher)
    if group.watchers.isEmpty { groups[watcher.spec] = nil }
    return next
  }

  private var allWatchers: [UpstreamWatcher] { groups.values.flatMap(\.watchers) }

  /// The watchers that may be on a line.
  private func watchers(for line: WatchLine) -> [UpstreamWatcher] { line.loner.map { [$0] } ?? allWatchers }

  private func requestAll() {
    let watchers = allWatchers
    for watcher in watchers { request(watcher) }
    let now = loop.now
    guard let next = watchers.lazy.map(\.notBefore).filter({ $0 > now }).min() else { return }
    if !retryTimer.isActive { retryTimer.start(after: next - now) }
  }

  /// Has etcd create a watcher that waits for that, unless etcd is creating an equal one: further equal watches wait
  /// for the next one.
  private func request(_ watcher: UpstreamWatcher) {
    guard case .waiting = watcher.state, !watcher.isQueued, watcher.notBefore <= loop.now, let group = watcher.group,
      group.awaitTurn(watcher), !reopenTimer.isActive
    else { return }
    if let old = watcher.line, old.loner != nil { release(old) }
    if watcher.isSuspect || watcher.spec.isLarge {
      let own = WatchLine(self, for: watcher)
      ownLines[ObjectIdentifier(own)] = own
      own.create(watcher)
    } else if line.takesCreations {
      line.create(watcher)
    } else {
      watcher.isQueued = true
      queue.append(watcher)
    }
  }

  /// Has etcd create the watchers in the queue.
  private func requestQueued() {
    while line.takesCreations, !reopenTimer.isActive, let watcher = queue.popFirst() {
      watcher.isQueued = false
      request(watcher)
    }
  }

  /// Has the readers of a watcher join another watcher of the same watch, if nothing that they need has passed there.
  private func merge(_ watcher: UpstreamWatcher) {
    guard case .live = watcher.state, watcher.isCaughtUp, let group = watcher.group else { return }
    guard let main = group.main, case .live = main.state, main.isCaughtUp, main !== watcher else {
      group.main = watcher
      return
    }
    let (small, large) = watcher.readerCount <= main.readerCount ? (watcher, main) : (main, watcher)
    // If the other one is behind, it joins when it has caught up: only one that is not the main one does.
    group.main = large
    guard small.position >= large.position else { return }
    for watch in small.readers {
      guard let watch else { continue }
      small.remove(watch)
      large.add(watch)
    }
    close(small)
  }

  // MARK: - From etcd

  func line(_ line: WatchLine, received message: WatchMessage, for watcher: UpstreamWatcher) {
    lastHeader = message.header
    backoff.reset()
    if message.isCanceled {
      end(watcher, with: message)
    } else {
      let count = watcher.received(message)
      hub.counts.received &+= UInt64(count)
      merge(watcher)
    }
  }

  /// etcd has answered the creation of a watcher.
  func line(_ line: WatchLine, answered watcher: UpstreamWatcher, _ message: WatchMessage) {
    lastHeader = message.header
    let next = watcher.group?.endTurn(of: watcher)
    if message.isCanceled {
      refused(watcher, message)
    } else {
      backoff.reset()
      created(watcher, message)
    }
    if let next { request(next) }
    requestQueued()
  }

  private func created(_ watcher: UpstreamWatcher, _ message: WatchMessage) {
    if watcher.wasCreated { hub.counts.resumed &+= 1 }
    watcher.created(message, at: loop.now)
    guard watcher.readerCount == 0 else { return merge(watcher) }
    close(watcher)
    closeIfUnused()
  }

  private func end(_ watcher: UpstreamWatcher, with message: WatchMessage) {
    if let line = watcher.line, line.loner != nil { release(line) }
    let next = forget(watcher)
    watcher.end(with: message)
    if let next { request(next) }
    closeIfUnused()
  }

  /// etcd does not create the watch. If the token may be the reason, which 3.4 does not distinguish from a lack of
  /// permission, that is checked first.
  private func refused(_ watcher: UpstreamWatcher, _ message: WatchMessage) {
    watcher.denials += 1
    watcher.state = .waiting
    if case .none = caller.credentials, !watcher.wasCreated, message.cancelReason.hasSuffix(EtcdMessage.userEmpty) {
      // Reported as for any other call: a client that waits for its watch gets a request for credentials.
      fail(watcher, GRPCStatus(.invalidArgument, EtcdMessage.userEmpty, origin: .server))
    }
    guard case .user = caller.credentials, watcher.denials < 3, watcher.readerCount > 0,
      EtcdMessage.mayBeTokens.contains(where: { message.cancelReason.hasSuffix($0) })
    else { return end(watcher, with: message) }
    watcher.state = .doubtful
    let refusing = watcher.line
    let probe = WatchProbe(WatchRange(watcher.spec), stream: self) { [unowned self] probe, status in
      probes[ObjectIdentifier(probe)] = nil
      guard case .doubtful = watcher.state else { return }
      watcher.state = .waiting
      judge(watcher, message, by: refusing, status)
    }
    probes[ObjectIdentifier(probe)] = probe
    probe.start(on: carrier, for: caller)
  }

  private func judge(_ watcher: UpstreamWatcher, _ message: WatchMessage, by refusing: WatchLine?, _ status: GRPCStatus)
  {
    if AccessQuestion.isYes(status) {
      // The user has the permission: the stream's token was stale, and there is a new one by now.
      renew(refusing, because: message.cancelReason)
      return request(watcher)
    }
    switch (status.code, status.origin) {
    case (.permissionDenied, .server):
      // No client that shares the watch may keep it, though etcd checks only new watches.
      let others = watcher.group?.removeAll() ?? []
      groups[watcher.spec] = nil
      for other in others {
        close(other, isOver: true)
        other.end(with: message.isDenied ? message : message.denied)
      }
      closeIfUnused()
    case (_, .login) where !status.isPassing:
      fail(status)
    case _ where status.isLoss:
      // The probe itself may be what ends etcd.
      abandon(watcher, status)
    default:
      // The probe had no result: it is sent again, for as long as a call may wait.
      watcher.denials -= 1
      if !watcher.wasCreated && loop.now - watcher.birth >= hub.patience { fail(watcher, status) }
      retryTimer.start(after: 100)
    }
  }

  /// etcd has answered about its progress.
  ///
  /// - Parameter isMark: whether that is a good while after the last time.
  func line(_ line: WatchLine, progressed message: WatchMessage, isMark: Bool) {
    lastHeader = message.header
    if isMark {
      for watcher in line.live.values {
        watcher.progressed(to: message.revision)
        merge(watcher)
      }
    }
    for reference in clients { reference.client.progressed(to: message.revision, header: message.header, on: line) }
  }

  // MARK: - Failure

  /// Ends the line of a watcher that had it for itself.
  private func release(_ own: WatchLine) {
    own.drop()
    ownLines[ObjectIdentifier(own)] = nil
  }

  /// Ends a line, and returns its watchers to the state before they were created there.
  private func forget(_ old: WatchLine) {
    release(old)
    if old === line {
      line = WatchLine(self)
      for watcher in queue { watcher.isQueued = false }
      queue = []
    }
    for watcher in watchers(for: old) where watcher.line === old {
      watcher.line = nil
      guard watcher.readerCount > 0 else {
        watcher.state = .ended
        forget(watcher)
        continue
      }
      switch watcher.state {
      case .creating, .live: watcher.state = .waiting
      case .waiting, .doubtful, .ended: break
      }
    }
  }

  /// Ends a line. Its watchers are created again on another one, some time later.
  private func replace(_ old: WatchLine) {
    forget(old)
    // A watcher on its own line delays no others.
    if old.loner == nil { reopenTimer.start(after: backoff.wait()) } else { retryTimer.start(after: 100) }
  }

  /// Opens another stream in place of one whose token is no longer valid, unless that has been done.
  private func renew(_ old: WatchLine?, because reason: String) {
    guard let old, old === line || old.loner != nil else { return }
    hub.logger.debug("a watch stream restarts", metadata: ["reason": "\(reason)"])
    replace(old)
  }

  /// A line has ended. If there is hope, watches resume on another one.
  func line(_ old: WatchLine, endedWith status: GRPCStatus) {
    let suspects = old.creating
    let wasOfUse = old.wasOfUse
    if status.isLoss {
      for watcher in watchers(for: old) where watcher.line === old { watcher.wasLost(at: loop.now) }
    }
    replace(old)
    guard !hub.isClosed else { return fail(status) }
    if status.mayBeOfOneRequest {
      if let loner = old.loner { return refuse(loner, status) }
      guard wasOfUse || !suspects.isEmpty else { return fail(status) }
      // One of the unanswered creations is at fault: each is sent alone, and the others continue without them.
      for watcher in suspects { watcher.isSuspect = true }
    } else if !status.isPassing {
      return fail(status)
    }
    for watcher in watchers(for: old) where watcher.isDangerous { abandon(watcher, status) }
    for watcher in watchers(for: old) where !watcher.wasCreated && loop.now - watcher.birth >= hub.patience {
      fail(watcher, status)
    }
    guard !groups.isEmpty else { return closeIfUnused() }
    hub.logger.debug("a watch stream restarts", metadata: ["reason": "\(status.message)"])
  }

  /// etcd has answered on a line what it never does. That may pass with another member, but is not tried without end.
  func line(_ old: WatchLine, isMisunderstood fault: String) {
    let status = GRPCStatus(.internal, "etcd sent an invalid answer: \(fault)")
    faults = loop.now - old.openedAt < 1000 ? faults + 1 : 1
    guard faults < Self.maxFaults else {
      faults = 0
      return fail(status)
    }
    line(old, endedWith: status)
  }

  /// There is no room for what etcd sends: the line ends, so that nothing of it is kept, and the watch resumes from its
  /// position once there may be room. No other watch waits for that.
  func line(_ old: WatchLine, hasNoRoomFor watcher: UpstreamWatcher?) {
    defer { memory?.makeRoom() }
    guard let watcher else {
      old.drop()
      return line(old, isMisunderstood: "a message does not begin with its watch")
    }
    replace(old)
    hub.logger.debug("there is no memory for a watch's events (--max-memory)")
    watcher.isSuspect = true
    watcher.hasNoRoom(at: loop.now)
    if watcher.shortages >= UpstreamWatcher.maxShortages { fail(everybodyOf: watcher, Self.shortage) }
    guard !groups.isEmpty else { return closeIfUnused() }
    retryTimer.start(after: UpstreamWatcher.shortageWait)
  }

  private static let shortage = GRPCStatus(
    .unavailable, "etcd sends more events of the watch at once than the memory budget allows (--max-memory)")

  /// Ends all readers of a watcher that etcd may have died of.
  private func abandon(_ watcher: UpstreamWatcher, _ status: GRPCStatus) {
    var status = status
    status.message += "; the watch may crash etcd and is not created again"
    fail(everybodyOf: watcher, status)
  }

  private func fail(everybodyOf watcher: UpstreamWatcher, _ status: GRPCStatus) {
    for watch in watcher.readers {
      // The end of one client may have ended others of its watches.
      if let watch, watch.watcher === watcher { watch.client.ended(with: status) }
    }
    closeIfUnused()
  }

  /// Ends a watcher that etcd does not accept, and nothing else.
  private func refuse(_ watcher: UpstreamWatcher, _ status: GRPCStatus) {
    for watch in watcher.readers {
      // A client that has nothing else gets the error as for any call that fails.
      if let watch, watch.watcher === watcher, watch.client.isAbout(watch) { watch.client.ended(with: status) }
    }
    guard watcher.readerCount > 0 else { return closeIfUnused() }
    end(watcher, with: .refusal(header: lastHeader, reason: status.text))
  }

  /// Ends the clients that have not seen their watch created: they wait no longer than for any call.
  private func fail(_ watcher: UpstreamWatcher, _ status: GRPCStatus) {
    for watch in watcher.readers {
      // The end of one client may have ended others of its watches.
      if let watch, watch.watcher === watcher, !watch.isCreated { watch.client.ended(with: status) }
    }
    closeIfUnused()
  }
}
