internal import DequeModule
package import EtcdSchema
internal import SwiftProtobuf

/// Receives the responses for a client's watches. Every method may call back into the client.
package protocol WatchClientDelegate: AnyObject {
  /// A response for the watch that the client knows as `watchID`; -1 for a watch that was never created, and for
  /// progress of the whole stream.
  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64)
  /// The client's watches cannot go on; nothing follows.
  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus)
}

/// One client's stream of watches: it takes `WatchRequest`s and gives `WatchResponse`s as an etcd Watch stream of its
/// own would. Below it, watches are shared with other clients of the same user, and survive the loss of a member.
///
/// Belongs to a bridge's loop. Its maker keeps it and calls ``cancel()`` before it releases it.
package final class WatchClient {
  let caller: Caller
  unowned let delegate: any WatchClientDelegate
  private unowned let hub: WatchHub
  /// In the order of their IDs.
  private var watches: [Watch] = []
  /// How many of them etcd has not created yet.
  fileprivate var unansweredCount = 0
  /// How many bytes the client's watches take.
  package private(set) var keptBytes = 0
  /// What a watch takes besides its request, in bytes.
  static let watchBytes = 512
  private var nextID: Int64 = 0
  private var isPaused = false
  /// Whether the client waits for an answer about progress.
  private(set) var awaitsProgress = false
  /// The reasons of creations that are refused without etcd; the client gets them once there is a header for the
  /// response.
  private var refusals: Deque<String> = []
  private var isOver = false
  private var hasBeenToldAnything = false

  init(hub: WatchHub, caller: Caller, delegate: any WatchClientDelegate) {
    self.hub = hub
    self.caller = caller
    self.delegate = delegate
  }

  private var stream: WatchStream { hub.stream(for: self) }

  /// How many unanswered creations a client may have before no further request is taken.
  private static let maxUnanswered = 64

  /// Whether requests are taken now: nearly all earlier ones have been answered.
  package var takesRequests: Bool { unansweredCount + refusals.count < Self.maxUnanswered }

  /// Whether `watch` is the client's only watch, and the client has received nothing.
  func isAbout(_ watch: Watch) -> Bool { !hasBeenToldAnything && watches.count == 1 && watches[0] === watch }

  /// Whether any watch is left.
  var hasWatches: Bool { !watches.isEmpty }
  var watchCount: Int { watches.count }

  /// Whether the client may still receive anything.
  package var hasAnythingToTell: Bool { hasWatches || !refusals.isEmpty }

  // MARK: - From the client

  /// Executes an encoded `WatchRequest`.
  ///
  /// - Throws: ``GRPCStatus`` if it has no request, or one for more watches than a client may have.
  package func receive(_ request: UnsafeRawBufferPointer) throws(GRPCStatus) {
    let message: Etcdserverpb_WatchRequest
    do {
      message = try Etcdserverpb_WatchRequest(serializedBytes: Array(request))
    } catch {
      throw GRPCStatus(.invalidArgument, "not a watch request: \(error)")
    }
    try receive(message)
  }

  /// Executes `message`.
  ///
  /// - Throws: as ``receive(_:)-(UnsafeRawBufferPointer)``.
  package func receive(_ message: Etcdserverpb_WatchRequest) throws(GRPCStatus) {
    switch message.requestUnion {
    case .createRequest(let request):
      guard watches.count < hub.maxWatches else {
        throw GRPCStatus(.resourceExhausted, "a stream may have \(hub.maxWatches) watches (--max-watches)")
      }
      guard request.startRevision >= 0 else {
        // etcd 3.4 takes it for the current revision, and 3.5 for a compacted one.
        let status = GRPCStatus(
          .invalidArgument, "start_revision: \(request.startRevision) is not a revision; 0 means from now on"
        )
        if watches.isEmpty && !hasBeenToldAnything { throw status }
        return refuse(status.text)
      }
      try create(request)
    case .cancelRequest(let request):
      if let watch = find(request.watchID), !watch.isCancelled { cancel(watch) }
    case .progressRequest: requestProgress()
    case nil:
      throw GRPCStatus(
        .invalidArgument, "a watch request needs one of create_request, cancel_request and progress_request")
    }
  }

  /// Watches a range.
  ///
  /// - Parameters:
  ///   - range: the keys.
  ///   - revision: the first revision whose events are wanted; 0 for what happens from now on.
  /// - Throws: ``GRPCStatus`` if a client may not have that many watches.
  package func watch(_ range: KeyRange, from revision: Int64) throws(GRPCStatus) {
    try create(
      .with {
        $0.key = .init(range.start)
        $0.rangeEnd = .init(range.end)
        $0.startRevision = revision
      })
  }

  /// The revision up to which the client has all events of its watches: that of the slowest one. Nil before etcd has
  /// created them all.
  package var position: Int64? {
    guard watches.allSatisfy(\.isCreated) else { return nil }
    return watches.map { max($0.position, $0.watcher?.position ?? 0) }.min()
  }

  /// Asks etcd for its progress, so that the positions of quiet watches move: some seconds after the second answer. The
  /// delegate is not notified.
  package func moveOn() {
    if !watches.isEmpty && !isPaused { stream.requestProgress() }
  }

  private func create(_ request: Etcdserverpb_WatchCreateRequest) throws(GRPCStatus) {
    var id = request.watchID
    if id == 0 {
      while find(nextID) != nil { nextID += 1 }
      id = nextID
      nextID += 1
    } else if let other = find(id), !other.isCancelled {
      // etcd's words.
      return refuse("mvcc: duplicate watch ID provided on the WatchStream")
    }
    let watch = try Watch(id, client: self, request)
    guard keptBytes + watch.keptBytes <= hub.maxWatchBytes else {
      throw GRPCStatus(
        .resourceExhausted, "the watches of a stream may take \(hub.maxWatchBytes) bytes (--max-watch-bytes)")
    }
    watches.insert(watch, at: place(after: id))
    unansweredCount += 1
    keptBytes += watch.keptBytes
    if !isPaused { stream.attach(watch) }
  }

  /// Refuses to create a watch; the existing ones continue.
  private func refuse(_ reason: String) {
    refusals.append(reason)
    tellRefusals()
  }

  private func tellRefusals() {
    let header = stream.lastHeader
    // A client that has received anything receives this, too, even if etcd has sent no header.
    guard !header.isEmpty || hasBeenToldAnything else { return }
    // The client gets the others when it takes more.
    while !isOver, !isPaused, let reason = refusals.popFirst() {
      delegate.watchClient(self, received: .refused(header: header, reason: reason), watchID: -1)
    }
  }

  private func cancel(_ watch: Watch) {
    guard watch.isCreated else {
      // It is created first, as it would be at etcd.
      watch.isCancelled = true
      return
    }
    forget(watch)
    let stream = stream
    stream.detach(watch)
    delegate.watchClient(self, received: .canceled(header: stream.lastHeader), watchID: watch.id)
    if watches.isEmpty { stream.closeIfUnused() }
  }

  private func requestProgress() {
    awaitsProgress = true
    if !watches.isEmpty && !isPaused { stream.requestProgress() }
  }

  /// Passes on no more responses for now: watches leave their shared watchers, and note their positions.
  package func pause() {
    guard !isPaused, !isOver else { return }
    isPaused = true
    let stream = stream
    for watch in watches { stream.detach(watch) }
  }

  /// Reverts ``pause()``: no event is missed, and none comes twice.
  package func resume() {
    guard isPaused, !isOver else { return }
    isPaused = false
    if !refusals.isEmpty { tellRefusals() }
    guard !watches.isEmpty, !isPaused else { return }
    let stream = stream
    for watch in watches { stream.attach(watch) }
    if awaitsProgress { stream.requestProgress() }
  }

  /// Ends all watches without notifying the delegate.
  package func cancel() {
    guard !isOver else { return }
    isOver = true
    hub.remove(self, watches)
    watches = []
    unansweredCount = 0
    refusals = []
    keptBytes = 0
  }

  private func forget(_ watch: Watch) {
    guard let index = watches[..<place(after: watch.id)].lastIndex(where: { $0 === watch }) else { return }
    watches.remove(at: index)
    if !watch.isCreated { unansweredCount -= 1 }
    keptBytes -= watch.keptBytes
  }

  /// The watch with an ID. If there are several, it is the latest, before which the others were cancelled.
  private func find(_ id: Int64) -> Watch? {
    guard let watch = watches[..<place(after: id)].last, watch.id == id else { return nil }
    return watch
  }

  /// How many watches have this ID or a lower one.
  private func place(after id: Int64) -> Int {
    var (low, high) = (0, watches.count)
    while low < high {
      let middle = (low + high) / 2
      if watches[middle].id <= id { low = middle + 1 } else { high = middle }
    }
    return low
  }

  // MARK: - From the stream

  /// A watch of the client has ended by itself.
  func ended(_ watch: Watch) {
    watch.watcher?.remove(watch)
    forget(watch)
  }

  func received(_ response: WatchResponse, of watch: Watch, as id: Int64) {
    guard !isOver else { return }
    hasBeenToldAnything = true
    hub.counts.delivered &+= UInt64(response.marks.count)
    delegate.watchClient(self, received: response, watchID: id)
    // The delegate may have ended the client, by a request that had waited for this.
    guard !isOver else { return }
    if watch.isCancelled && watch.isCreated { cancel(watch) }
    guard !isOver, !refusals.isEmpty else { return }
    tellRefusals()
  }

  /// etcd has named the revision up to which it has sent all events on `line`.
  func progressed(to revision: Int64, header: [UInt8], on line: WatchLine) {
    // A client that is behind with its own watches asks again when it resumes.
    guard awaitsProgress, !isPaused, !isOver else { return }
    awaitsProgress = false
    // It says nothing about watches on other lines.
    let others = watches.filter { $0.watcher?.line !== line }
    let known = others.map { max($0.position, $0.watcher?.position ?? 0) }.min() ?? revision
    let header = known < revision ? WatchResponse.header(header, at: known) : header
    delegate.watchClient(self, received: WatchResponse(header: header), watchID: -1)
  }

  func ended(with status: GRPCStatus) {
    guard !isOver else { return }
    cancel()
    delegate.watchClient(self, endedWith: status)
  }
}

/// One watch of one client.
final class Watch {
  /// The client's ID for it, and the requested one: 0 for any.
  let id: Int64
  let requestedID: Int64
  unowned let client: WatchClient
  var spec: WatchSpec
  let startRevision: Int64
  let wantsProgress: Bool
  /// Whether the client has been notified of its creation.
  private(set) var isCreated = false
  /// Whether the client has cancelled it before it was created.
  var isCancelled = false
  /// Its watcher, and its place among the readers.
  var watcher: UpstreamWatcher?
  var slot = 0
  /// The client has every event up to here. While the watch reads a watcher, the watcher may be further.
  var position: Int64 = 0

  /// - Throws: ``GRPCStatus`` if the request cannot be encoded.
  init(_ id: Int64, client: WatchClient, _ request: Etcdserverpb_WatchCreateRequest) throws(GRPCStatus) {
    self.id = id
    requestedID = request.watchID
    self.client = client
    startRevision = request.startRevision
    wantsProgress = request.progressNotify
    var common = request
    common.watchID = 0
    common.startRevision = 0
    // For all clients: progress keeps the position of a quiet watch recent, and fragments keep memory small.
    common.progressNotify = true
    common.fragment = true
    // The filters that etcd knows, each once: any others would only make the request large.
    common.filters = [.noput, .nodelete].filter { request.filters.contains($0) }
    spec = WatchSpec(request: try common.encoded(), passesFragments: request.fragment)
  }

  /// How many bytes it takes.
  var keptBytes: Int { spec.request.count + WatchClient.watchBytes }

  /// Notifies the client of its creation.
  func passCreation(_ response: WatchResponse) {
    isCreated = true
    client.unansweredCount -= 1
    pass(response)
  }

  /// Passes a response on to the client.
  ///
  /// - Parameter id: the watch ID for the response, if not the client's own.
  func pass(_ response: WatchResponse, as id: Int64? = nil) { client.received(response, of: self, as: id ?? self.id) }
}
