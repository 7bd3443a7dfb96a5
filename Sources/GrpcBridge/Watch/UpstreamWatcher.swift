internal import EtcdSchema
import ProtobufWire

/// What is watched: a `WatchCreateRequest` without what is each client's own. Equal ones of one user may share a
/// watcher.
struct WatchSpec: Hashable {
  /// The request, encoded. The keys are kept nowhere else.
  let request: [UInt8]
  /// Whether clients put fragments together themselves.
  let passesFragments: Bool

  /// How many bytes a request has beside ``request``, at most: the two numbers of ``creation(watchID:startRevision:)``,
  /// and what is around it.
  private static let maxOverhead = 64

  /// Whether etcd may find the request too large.
  var isLarge: Bool { request.count > WatchLine.maxShared - Self.maxOverhead }

  /// The request for a watcher of one's own.
  func creation(watchID: Int64, startRevision: Int64) -> CallMessage {
    var creation = request
    creation.append(field: Etcdserverpb_WatchCreateRequest.Field.startRevision, startRevision)
    creation.append(field: Etcdserverpb_WatchCreateRequest.Field.watchId, watchID)
    var message: [UInt8] = []
    message.append(field: Etcdserverpb_WatchRequest.Field.createRequest, creation)
    return CallMessage(copying: message)
  }
}

/// The keys of a watch, as the client gave them.
struct WatchRange {
  let key: [UInt8]
  let end: [UInt8]
}

/// One watcher at etcd and all its readers.
///
/// It goes through any number of upstream watchers, one after the other: each begins at the revision after
/// ``position``, so that no event is missed and none comes twice.
final class UpstreamWatcher {
  enum State {
    /// To be created upstream.
    case waiting
    /// etcd's answer to the creation is awaited.
    case creating
    /// etcd has refused it; whether rightly so is being found out.
    case doubtful
    /// etcd knows it under this watch ID.
    case live(Int64)
    case ended
  }

  let spec: WatchSpec
  var state = State.waiting
  /// Where etcd was last asked for it; nil where that has broken.
  weak var line: WatchLine?
  /// Whether it waits for its turn to be asked for.
  var isQueued = false
  /// Whether its creation may be what has ended a line: it is asked for alone.
  var isSuspect = false
  /// When it was made, in milliseconds of the loop's clock.
  let birth: UInt64
  /// Where it begins; 0 for now.
  let startRevision: Int64
  /// Whether etcd has ever created it.
  private(set) var wasCreated = false
  /// Every event up to this revision has been passed on.
  private(set) var position: Int64 = 0
  /// How often etcd has refused it since it was last created.
  var denials = 0
  /// When it was last created.
  private var createdAt: UInt64 = 0
  /// How many members in a row were lost before they had kept it for long.
  private var losses = 0
  /// Whether a member has ever kept it for long, or has sent anything for it.
  private var isProven = false
  /// So long, in milliseconds, a member has to live with a watcher for that to be harmless.
  private static let trial: UInt64 = 1000
  private var assembler: WatchAssembler
  private var held: WatchBytes
  /// How often in a row there was no room for what etcd sent for it, and when it is asked for again.
  private(set) var shortages = 0
  private(set) var notBefore: UInt64 = 0
  /// So often it begins anew for that reason, this far apart in milliseconds: clients that do not read have gone by
  /// then.
  static let maxShortages = 5
  static let shortageWait: UInt64 = 1000
  /// The revision of etcd when it created the watcher. Once something after that has come, all before it has.
  private var creationRevision: Int64 = 0
  private(set) var isCaughtUp = false
  /// The revision that etcd named when it was last asked for progress.
  private var progressMark: Int64 = 0
  /// How often etcd has named its progress since anything came.
  private var quietMarks = 0
  /// After so many, nothing from before the creation can be under way: etcd looks for what a watcher lacks ten times a
  /// second.
  private static let quietMarksOfOneCaughtUp = 2

  /// All its readers. While a response is being passed on, those who leave are replaced by nil.
  private(set) var readers = ContiguousArray<Watch?>()
  private(set) var readerCount = 0
  /// The reader that a response is being passed on to, and where the readers behind it stand.
  private var delivering: (slot: Int, position: Int64)?

  init(_ spec: WatchSpec, startRevision: Int64, birth: UInt64, memory: (any WatchMemory)? = nil) {
    held = WatchBytes(memory)
    self.spec = spec
    self.startRevision = startRevision
    self.birth = birth
    assembler = WatchAssembler(passesFragments: spec.passesFragments)
  }

  /// Whether etcd sends parts of a response without end.
  var holdsTooMuch: Bool { assembler.holdsTooMuch }

  /// Counts what is held back; whether there is room for it.
  func countHeld() -> Bool { held.set(to: assembler.heldCount) }

  /// There was no room for what etcd sends for it.
  func hasNoRoom(at now: UInt64) {
    shortages += 1
    notBefore = now + Self.shortageWait
    assembler = WatchAssembler(passesFragments: spec.passesFragments)
    _ = held.set(to: 0)
  }

  /// Where the next upstream watcher has to begin; 0 for now.
  var nextRevision: Int64 { wasCreated ? position &+ 1 : startRevision }

  /// Takes notice that the connection has died on which it was, or was to be.
  func wasLost(at now: UInt64) {
    switch state {
    case .live where now - createdAt >= Self.trial:
      // Whatever ended that member, it was not this.
      isProven = true
      losses = 0
    case .live, .creating: losses += 1
    case .waiting, .doubtful, .ended: break
    }
  }

  /// Whether creating it again may end another member: two have been lost with it, or a few with one that has been kept
  /// before. A watch outlives any number of members; this is about those that die one after the other within a moment.
  var isDangerous: Bool { losses >= (isProven ? 5 : RetryPolicy.maxLosses) }

  // MARK: - Readers

  func add(_ watch: Watch) {
    watch.watcher = self
    // Equal, but with memory that is shared with the other readers.
    watch.spec = spec
    watch.slot = readers.count
    readers.append(watch)
    readerCount += 1
  }

  /// Takes a reader out, who then knows up to where it has read.
  func remove(_ watch: Watch) {
    if let delivering, watch.slot > delivering.slot {
      watch.position = max(watch.position, delivering.position)
    } else if wasCreated {
      watch.position = max(watch.position, position)
    }
    watch.watcher = nil
    readerCount -= 1
    if delivering != nil {
      readers[watch.slot] = nil
    } else {
      let last = readers.removeLast()!
      if last !== watch {
        readers[watch.slot] = last
        last.slot = watch.slot
      }
    }
  }

  /// Calls `body` for every reader, each of whom may leave meanwhile.
  private func deliver(from position: Int64, _ body: (Watch) -> Void) {
    let count = readers.count
    for slot in 0..<count {
      delivering = (slot, position)
      if let watch = readers[slot] { body(watch) }
    }
    delivering = nil
    guard readerCount < readers.count else { return }
    readers.removeAll { $0 == nil }
    for slot in readers.indices { readers[slot]!.slot = slot }
  }

  // MARK: - From etcd

  /// A new upstream watcher has been created.
  func created(_ message: WatchMessage, at now: UInt64) {
    state = .live(message.watchID)
    createdAt = now
    denials = 0
    isSuspect = false
    assembler = WatchAssembler(passesFragments: spec.passesFragments)
    _ = held.set(to: 0)
    creationRevision = message.revision
    isCaughtUp = nextRevision == 0 || nextRevision > message.revision
    progressMark = 0
    quietMarks = 0
    if !wasCreated {
      wasCreated = true
      position = startRevision == 0 ? message.revision : startRevision &- 1
    }
    let response = WatchResponse(header: message.header, control: message.control)
    deliver(from: position) { watch in
      guard !watch.isCreated else { return }
      watch.isCreated = true
      watch.pass(response)
    }
  }

  /// Events or a progress notification have come.
  ///
  /// - Returns: how many events are passed on.
  func received(_ message: WatchMessage) -> Int {
    quietMarks = 0
    // A member that serves the watcher has outlived its creation.
    isProven = true
    losses = 0
    guard !message.events.isEmpty || message.isFragment else {
      // etcd sends these behind all events up to the header's revision, on the same way.
      isCaughtUp = true
      let old = position
      position = max(position, message.revision)
      let response = WatchResponse(header: message.header)
      deliver(from: old) { watch in
        if watch.wantsProgress && message.revision >= watch.position { watch.pass(response) }
      }
      return 0
    }
    guard let response = assembler.take(message) else { return 0 }
    shortages = 0
    let old = position
    position = max(position, response.lastRevision)
    if position > creationRevision { isCaughtUp = true }
    deliver(from: old) { watch in
      let seen = max(watch.position, old)
      if seen < response.firstRevision {
        watch.pass(response)
      } else if let rest = response.dropping(through: seen) {
        watch.pass(rest)
      }
    }
    return response.marks.count
  }

  /// etcd has named its progress, a good while after the last time.
  ///
  /// Older members may send this ahead of events that are on their way (etcd issue 15220): so what moves the position
  /// is what was named before, all events up to which have come by now. A watcher that has to catch up with the
  /// revision of its creation is left alone, as this says nothing of it, until it has been quiet for long enough.
  func progressed(to revision: Int64) {
    guard !assembler.isHolding else { return }
    if !isCaughtUp && quietMarks >= Self.quietMarksOfOneCaughtUp { isCaughtUp = true }
    quietMarks += 1
    if isCaughtUp { position = max(position, progressMark) }
    progressMark = revision
  }

  /// The watch is over: every reader is told so, and has it no more.
  func end(with message: WatchMessage) {
    state = .ended
    let response = WatchResponse(header: message.header, control: message.control)
    // A reader that was notified of the creation is not notified of a second one that has failed.
    let news =
      message.isCreated
      ? WatchResponse.refused(header: message.header, asCreated: false, reason: message.cancelReason) : response
    deliver(from: position) { watch in
      watch.client.ended(watch)
      if watch.isCreated {
        watch.pass(news)
      } else {
        // Some refusals have the ID that was asked for, and others that of no watch.
        watch.pass(response, as: message.watchID == -1 ? -1 : watch.requestedID)
      }
    }
  }
}
