internal import DequeModule
internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// One gRPC Watch stream at etcd: the watchers on it, and the creations that etcd has yet to answer. It lives once:
/// when it breaks, its watchers go to another one.
///
/// Most watchers of a user share a line. One whose creation etcd may find too large has a line of its own, and so has
/// one that is suspected of having ended a shared line: etcd ends a gRPC stream for the sake of a single request.
final class WatchLine {
  private static let method = CallMethod(EtcdRPC.watch.traits, isResumable: true)
  /// How large a response may be, in bytes. Fragments are some 1.5 MiB, but for a single event.
  private static let maxBytes = 1 << 29
  /// How large, in bytes, a request on a shared line may be. etcd takes `--max-request-bytes` and 512 KiB more,
  /// whatever the former is set to (`grpcOverheadBytes` in etcd's `v3rpc`).
  static let maxShared = 512 << 10
  /// How many creations etcd is given before it has answered the first of them; further ones wait as what they are.
  static let maxCreating = 256

  private unowned let stream: WatchStream
  /// The watcher that has the line for itself; nil where watchers share it.
  let loner: UpstreamWatcher?
  private var carrier: any WatchCarrier { stream.carrier }
  private var call: Call?
  /// What has come of a message.
  private var incoming: [UInt8] = []
  private var kept: WatchBytes
  /// A message of so many bytes is not counted.
  private static let uncounted = 32 << 10
  /// How many times its size a message takes until it is passed on: itself, its events, and their JSON while that
  /// grows.
  private static let copies = 5
  /// Watchers by etcd's watch ID.
  private(set) var live: [Int64: UpstreamWatcher] = [:]
  /// Watchers whose creation etcd has not answered yet, in the order of the requests, which is that of the answers.
  private(set) var creating: Deque<UpstreamWatcher> = []
  /// The watch ID of the last creation. We choose them ourselves: 3.5.1 refuses a watch without an ID in the name of
  /// the first one on the stream, and sends that one no more events.
  private var lastID: Int64 = 0
  /// Whether etcd has answered anything.
  private(set) var wasOfUse = false
  /// When the call began.
  private(set) var openedAt: UInt64 = 0
  /// When etcd's progress was last taken as a mark for quiet watchers.
  private var lastMark: UInt64 = 0
  /// When etcd was asked for its progress; nil once it has answered.
  private var askedForProgress: UInt64?
  /// So long, in milliseconds, an answer is awaited before etcd is asked again: some versions give none while a watcher
  /// is catching up.
  private static let progressPatience: UInt64 = 3000
  /// How far apart, in milliseconds, answers are that are marks, unless ``WatchStream/progressInterval`` is shorter:
  /// events that some versions send behind what they say of their progress have come by then.
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

  /// Whether etcd may be given another creation.
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

  /// Asks etcd for its progress, unless its answer is awaited already.
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

  /// Ends the line without another word to the stream.
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

  /// Ends a line whose other side is not understood.
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

  /// There is no room for a message. Whom it is for stands before its events.
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
