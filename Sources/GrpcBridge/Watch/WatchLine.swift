internal import DequeModule
internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// One gRPC Watch stream at etcd: its watchers, and the creations that etcd has not answered yet. It is never reopened:
/// when it breaks, its watchers go to another line.
///
/// Most watchers of a user share a line. A watcher has a line of its own if etcd may find its creation too large, or if
/// it may have ended a shared line: etcd ends a gRPC stream because of a single request.
final class WatchLine {
  private static let method = CallMethod(EtcdRPC.watch.traits, isResumable: true)
  /// How large a response may be, in bytes. Fragments are some 1.5 MiB, unless a single event is larger.
  private static let maxBytes = 1 << 29
  /// How large, in bytes, a request on a shared line may be. etcd takes 512 KiB more than `--max-request-bytes`,
  /// whatever that is set to (`grpcOverheadBytes` in etcd's `v3rpc`).
  static let maxShared = 512 << 10
  /// How many unanswered creations etcd is given; further watchers wait.
  static let maxCreating = 256

  private unowned let stream: WatchStream
  /// The watcher that has the line for itself; nil if watchers share it.
  let loner: UpstreamWatcher?
  private var carrier: any WatchCarrier { stream.carrier }
  private var call: Call?
  /// What has arrived of a message.
  private var incoming: [UInt8] = []
  private var kept: WatchBytes
  /// A message of at most so many bytes is not counted.
  private static let uncounted = 32 << 10
  /// How many times its size a message takes until it is passed on: itself, its events, and their JSON while that
  /// grows.
  private static let copies = 5
  /// Watchers by etcd's watch ID.
  private(set) var live: [Int64: UpstreamWatcher] = [:]
  /// Watchers whose creation etcd has not answered yet, in the order of the requests, in which etcd answers.
  private(set) var creating: Deque<UpstreamWatcher> = []
  /// The watch ID of the last creation. The gateway chooses the IDs: 3.5.1 refuses a watch without an ID in the name of
  /// the first watch on the stream, and sends that one no more events.
  private var lastID: Int64 = 0
  /// Whether etcd has answered anything.
  private(set) var wasOfUse = false
  /// When the call began.
  private(set) var openedAt: UInt64 = 0
  /// When an answer about progress last counted as a mark for quiet watchers.
  private var lastMark: UInt64 = 0
  /// When etcd was asked for its progress; nil once it has answered.
  private var askedForProgress: UInt64?
  /// After so many milliseconds without an answer etcd is asked again: some versions give none while a watcher is
  /// catching up.
  private static let progressPatience: UInt64 = 3000
  /// The least time, in milliseconds, between two answers that count as marks, unless ``WatchStream/progressInterval``
  /// is shorter. Some versions send events after the answer about their progress; these have come by then.
  private static let markInterval: UInt64 = 5000
  private lazy var progressTimer = LoopTimer(loop: stream.loop) { [unowned self] in
    askedForProgress = nil
    requestProgress()
  }

  init(_ stream: WatchStream, for loner: UpstreamWatcher? = nil) {
    self.stream = stream
    self.loner = loner
    kept = WatchBytes(stream.memory)
  }

  /// Whether etcd may get another creation.
  var takesCreations: Bool { creating.count < Self.maxCreating }

  // MARK: - To etcd

  func create(_ watcher: UpstreamWatcher) {
    lastID += 1
    let message = watcher.spec.creation(watchID: lastID, startRevision: watcher.nextRevision)
    watcher.state = .creating
    watcher.line = self
    creating.append(watcher)
    if let call {
      carrier.send(message, on: call)
    } else {
      let call = Call(Self.method, message: message, timeout: nil, delegate: self)
      call.maxBytes = Self.maxBytes
      openedAt = stream.loop.now
      self.call = call
      carrier.start(call, for: stream.caller)
    }
  }

  /// Ends a watcher.
  func cancel(_ id: Int64) {
    guard live.removeValue(forKey: id) != nil, loner == nil else { return }
    var request = Etcdserverpb_WatchRequest()
    request.cancelRequest.watchID = id
    send(request)
  }

  /// Asks etcd for its progress, unless an answer is awaited already.
  func requestProgress() {
    let now = stream.loop.now
    guard call != nil, askedForProgress.map({ now - $0 >= Self.progressPatience }) ?? true else { return }
    askedForProgress = now
    var request = Etcdserverpb_WatchRequest()
    request.progressRequest = Etcdserverpb_WatchProgressRequest()
    send(request)
  }

  private func send(_ request: Etcdserverpb_WatchRequest) {
    if let call { carrier.send(CallMessage(copying: request.encodedSmall()), on: call) }
  }

  /// Ends the line without notifying the stream.
  func drop() {
    if let call { carrier.cancel(call) }
    call = nil
    incoming = []
    _ = kept.set(to: 0)
    progressTimer.stop()
  }

  // MARK: - From etcd

  private func take(_ message: WatchMessage) {
    wasOfUse = true
    if message.isCreated {
      answered(message)
    } else if message.watchID == -1 && !message.isCanceled {
      progressed(message)
    } else if let watcher = live[message.watchID] {
      if message.isCanceled { live[message.watchID] = nil }
      stream.line(self, received: message, for: watcher)
      if call != nil && watcher.holdsTooMuch {
        misunderstood("more than \(WatchAssembler.maxHeld) bytes of events are of one revision")
      } else if call != nil && !watcher.countHeld() {
        stream.line(self, hasNoRoomFor: watcher)
      }
    }
  }

  /// etcd answers the oldest creation.
  private func answered(_ message: WatchMessage) {
    guard let watcher = creating.popFirst() else {
      return misunderstood("etcd created a watch that was not requested")
    }
    if !message.isCanceled {
      live[message.watchID] = watcher
      let interval = stream.progressInterval
      if !progressTimer.isActive { progressTimer.start(after: interval, every: interval) }
    }
    stream.line(self, answered: watcher, message)
  }

  private func progressed(_ message: WatchMessage) {
    askedForProgress = nil
    // Only answers that are far apart are marks; clients may ask at any time.
    let now = stream.loop.now
    let isMark = now - lastMark >= min(stream.progressInterval / 2, Self.markInterval)
    if isMark { lastMark = now }
    stream.line(self, progressed: message, isMark: isMark)
  }

  /// Ends a line because an answer is not understood.
  private func misunderstood(_ fault: String) {
    drop()
    stream.line(self, isMisunderstood: fault)
  }
}

extension WatchLine: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    incoming = []
    incoming.reserveCapacity(min(length, Self.uncounted))
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    let count = incoming.count + bytes.count
    guard count <= Self.uncounted || kept.set(to: Self.copies * count) else { return giveWay() }
    incoming += bytes
  }

  func callReceivedMessage(_ call: Call) {
    guard call === self.call else { return }
    var bytes: [UInt8] = []
    swap(&bytes, &incoming)
    do {
      take(try WatchMessage(bytes))
    } catch {
      misunderstood("a watch response is malformed")
    }
    _ = kept.set(to: 0)
  }

  /// There is no room for a message. The watch ID comes before its events.
  private func giveWay() {
    let id = WatchMessage.watchID(ofBeginning: incoming)
    stream.line(self, hasNoRoomFor: id.flatMap { live[$0] })
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard call === self.call else { return }
    self.call = nil
    drop()
    stream.line(self, endedWith: status.isOK ? GRPCStatus(.unavailable, "etcd ended the watch stream") : status)
  }
}
