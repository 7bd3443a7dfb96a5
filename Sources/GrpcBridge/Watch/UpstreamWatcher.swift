internal import EtcdSchema
import ProtobufWire

/// What is watched: a `WatchCreateRequest` without the fields that are each client's own. Equal ones of one user may
/// share a watcher.
struct WatchSpec: Hashable {
  /// The encoded request. The keys are kept only here.
  let request: [UInt8]
  /// Whether clients put fragments together themselves.
  let passesFragments: Bool

  /// How many bytes a request has beside ``request``, at most: the two numbers of ``creation(watchID:startRevision:)``,
  /// and their framing.
  private static let maxOverhead = 64

  /// Whether etcd may find the request too large.
  var isLarge: Bool { request.count > WatchLine.maxShared - Self.maxOverhead }

  /// The request for a watcher.
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

/// One watcher at etcd, with all its readers.
///
/// It consists of upstream watchers, one after the other: each begins at the revision after ``position``, so that no
/// event is missed and none comes twice.
final class UpstreamWatcher {
  enum State {
    /// Has to be created at etcd.
    case waiting
    /// etcd's answer to the creation is awaited.
    case creating
    /// etcd has refused it; the reason is being checked.
    case doubtful
    /// etcd knows it by this watch ID.
    case live(Int64)
    case ended
  }

  let spec: WatchSpec
  var state = State.waiting
  /// The line of its last creation; nil if that line has broken.
  weak var line: WatchLine?
  /// The group that it belongs to, until it has ended, and its place among the watchers there.
  unowned var group: WatchGroup?
  var slot = 0
  /// Whether it waits until it may be sent to etcd: for its turn in the group, or in the queue of the stream.
  var isQueued = false
  /// Whether its creation may have ended a line: it is created on a line of its own.
  var isSuspect = false
  /// When it was made, in milliseconds of the loop's clock.
  let birth: UInt64
  /// The revision at which it begins; 0 for the current one.
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
  /// A watcher has proved harmless to a member that lives with it for so many milliseconds.
  private static let trial: UInt64 = 1000
  private var assembler: WatchAssembler
  private var held: WatchBytes
  /// How often in a row there was no room for what etcd sent for it, and when it is created again.
  private(set) var shortages = 0
  private(set) var notBefore: UInt64 = 0
  /// So often it is created again for that reason, this far apart in milliseconds: clients that do not read are gone by
  /// then.
  static let maxShortages = 5
  static let shortageWait: UInt64 = 1000
  /// etcd's revision when the watcher was created. Once an event after it has come, all before it have.
  private var creationRevision: Int64 = 0
  private(set) var isCaughtUp = false
  /// The revision in etcd's last answer about progress.
  private var progressMark: Int64 = 0
  /// How many answers about progress have come since the last event.
  private var quietMarks = 0
  /// After so many, no event from before the creation can be under way: etcd checks ten times a second what a watcher
  /// lacks.
  private static let quietMarksOfOneCaughtUp = 2

  /// All its readers. While a response is being passed on, readers that leave are replaced by nil.
  private(set) var readers = ContiguousArray<Watch?>()
  private(set) var readerCount = 0
  /// The reader that a response is being passed on to, and the position of the readers after it.
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

  /// Counts the bytes that are held back; false if there is no room for them.
  func countHeld() -> Bool { held.set(to: assembler.heldCount) }

  /// There was no room for what etcd sends for this watcher.
  func hasNoRoom(at now: UInt64) {
    shortages += 1
    notBefore = now + Self.shortageWait
    assembler = WatchAssembler(passesFragments: spec.passesFragments)
    _ = held.set(to: 0)
  }

  /// Where the next upstream watcher has to begin; 0 for the current revision.
  var nextRevision: Int64 { wasCreated ? position &+ 1 : startRevision }

  /// The connection that it was on, or was to be on, has died.
  func wasLost(at now: UInt64) {
    switch state {
    case .live where now - createdAt >= Self.trial:
      // Whatever ended that member, it was not this watcher.
      isProven = true
      losses = 0
    case .live, .creating: losses += 1
    case .waiting, .doubtful, .ended: break
    }
  }

  /// Whether creating it again may end another member: two were lost with it, or, if a member has kept it before, a few
  /// more. A watch outlives any number of members; this is about members that die one right after the other.
  var isDangerous: Bool { losses >= (isProven ? 5 : RetryPolicy.maxLosses) }

  // MARK: - Readers

  func add(_ watch: Watch) {
    watch.watcher = self
    // Equal, but in memory that is shared with the other readers.
    watch.spec = spec
    watch.slot = readers.count
    readers.append(watch)
    readerCount += 1
  }

  /// Removes a reader, and notes its position.
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

  /// Calls `body` for every reader; any of them may leave meanwhile.
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
      if !watch.isCreated { watch.passCreation(response) }
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
      // etcd sends these after all events up to the header's revision, on the same stream.
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

  /// etcd has answered about its progress, a good while after the last time.
  ///
  /// Older members may send this ahead of events under way (etcd issue 15220). So the position moves to the revision of
  /// the previous answer: all events up to that have come by now. If a watcher has to catch up with the revision of its
  /// creation, the answer says nothing about it; it is left alone until it has been quiet for long enough.
  func progressed(to revision: Int64) {
    guard !assembler.isHolding else { return }
    if !isCaughtUp && quietMarks >= Self.quietMarksOfOneCaughtUp { isCaughtUp = true }
    quietMarks += 1
    if isCaughtUp { position = max(position, progressMark) }
    progressMark = revision
  }

  /// The watch is over: notifies and removes every reader.
  func end(with message: WatchMessage) {
    state = .ended
    let response = WatchResponse(header: message.header, control: message.control)
    // A reader that was notified of the creation is not notified of a failed second one.
    let news =
      message.isCreated
      ? WatchResponse.refused(header: message.header, asCreated: false, reason: message.cancelReason) : response
    deliver(from: position) { watch in
      watch.client.ended(watch)
      if watch.isCreated {
        watch.pass(news)
      } else {
        // Some refusals have the requested ID, and others the ID of no watch.
        watch.pass(response, as: message.watchID == -1 ? -1 : watch.requestedID)
      }
    }
  }
}
