import EtcdSchema
import EventLoop
import Foundation
import Logging
import Testing

@testable import GrpcBridge

/// An etcd in memory that serves watches as the real one does, one step at a time, so that a test decides the order of
/// events: requests, the answers to them, and events each have a queue of their own.
final class SimulatedEtcd: WatchCarrier {
  struct Event {
    let revision: Int64
    let key: String
  }

  /// One gRPC Watch stream.
  final class Stream {
    struct Watcher {
      let id: Int64
      let key: String
      var next: Int64
    }

    let call: Call
    var requests: [Etcdserverpb_WatchRequest] = []
    var answers: [Etcdserverpb_WatchResponse] = []
    var watchers: [Watcher] = []
    /// Whether the first part of a watcher's events has been sent as a fragment.
    var fragmented: Int64?

    init(_ call: Call) { self.call = call }
  }

  /// The words of 3.4 and 3.5.
  static let refusal = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"

  let loop: EventLoop
  private(set) lazy var hub = WatchHub(
    loop: loop, carrier: self, patience: patience, progressInterval: progressInterval, maxWatches: 100,
    maxWatchBytes: 1 << 20,
    logger: Logger(label: "test")
  )
  var progressInterval: UInt64 = 60_000
  /// To be set before the first use of the hub.
  var patience: UInt64 = 200
  var revision: Int64 = 1
  var compacted: Int64 = 0
  var events: [Event] = []
  var streams: [Stream] = []
  /// Calls that are not watches: checks of permissions.
  var probes: [Call] = []
  var mayWatch = true
  var creations = 0
  /// How many watchers there are on all streams.
  var watchers: Int { streams.reduce(0) { $0 + $1.watchers.count } }
  private var stopTimer: LoopTimer?

  init() throws { loop = try EventLoop() }

  /// Lets timers that are due fire.
  func turn() {
    stopTimer = LoopTimer(loop: loop) { [unowned self] in loop.stop() }
    stopTimer?.start(after: 2)
    loop.run()
  }

  // MARK: WatchCarrier

  func start(_ call: Call, for caller: Caller) {
    guard call.method.isStream else { return probes.append(call) }
    streams.append(Stream(call))
    let requests = call.requests!
    var frame = [UInt8](repeating: 0, count: requests.count(from: 0))
    frame.withUnsafeMutableBytes { _ = requests.read(into: $0, from: 0) }
    receive(Array(frame.dropFirst(CallMessage.headroom)), streams.last!)
  }

  func send(_ message: consuming CallMessage, on call: Call) {
    let bytes = Array(message.frame.dropFirst(CallMessage.headroom))
    receive(bytes, streams.first { $0.call === call }!)
  }

  func cancel(_ call: Call) {
    streams.removeAll { $0.call === call }
    probes.removeAll { $0 === call }
  }

  private func receive(_ bytes: [UInt8], _ stream: Stream) {
    stream.requests.append(try! Etcdserverpb_WatchRequest(serializedBytes: bytes))
  }

  // MARK: What the test has it do

  /// Writes keys in one transaction.
  func put(_ keys: String...) {
    revision += 1
    events += keys.map { Event(revision: revision, key: $0) }
  }

  var header: Etcdserverpb_ResponseHeader { .with { $0.revision = revision } }

  /// Takes one request of a stream.
  func takeRequest(_ stream: Stream) {
    guard !stream.requests.isEmpty else { return }
    let request = stream.requests.removeFirst()
    switch request.requestUnion {
    case .createRequest(let create):
      creations += 1
      guard mayWatch else {
        stream.answers.append(
          .with {
            $0.header = header
            $0.watchID = create.watchID
            $0.created = true
            $0.canceled = true
            $0.cancelReason = SimulatedEtcd.refusal
          })
        return
      }
      let id = create.watchID
      stream.answers.append(
        .with {
          $0.header = header
          $0.watchID = id
          $0.created = true
        })
      let next = create.startRevision == 0 ? revision + 1 : create.startRevision
      if next <= compacted {
        stream.answers.append(
          .with {
            $0.header = header
            $0.watchID = id
            $0.canceled = true
            $0.compactRevision = compacted
          })
      } else {
        stream.watchers.append(.init(id: id, key: String(decoding: create.key, as: UTF8.self), next: next))
      }
    case .cancelRequest(let cancel):
      stream.watchers.removeAll { $0.id == cancel.watchID }
      stream.answers.append(
        .with {
          $0.header = header
          $0.watchID = cancel.watchID
          $0.canceled = true
        })
    case .progressRequest:
      stream.answers.append(
        .with {
          $0.header = header
          $0.watchID = -1
        })
    case nil: break
    }
  }

  /// Sends the answer to one request.
  func sendAnswer(_ stream: Stream) {
    guard !stream.answers.isEmpty else { return }
    send(stream.answers.removeFirst(), on: stream)
  }

  /// Sends a watcher up to `most` of the events that it has not had, if its creation has been answered.
  func sendEvents(_ stream: Stream, watcher index: Int, atMost most: Int = .max, inFragments: Bool = false) {
    let watcher = stream.watchers[index]
    guard !stream.answers.contains(where: { $0.created && $0.watchID == watcher.id }) else { return }
    let all = events.filter { $0.key == watcher.key && $0.revision >= watcher.next }
    // No response ends within a revision.
    guard !all.isEmpty, let last = all.prefix(most).last?.revision else { return }
    let due = all.prefix { $0.revision <= last }
    stream.watchers[index].next = last + 1
    let messages = due.map { event in
      Mvccpb_Event.with {
        $0.kv.key = Data(event.key.utf8)
        $0.kv.modRevision = event.revision
      }
    }
    let response = Etcdserverpb_WatchResponse.with {
      $0.header = header
      $0.watchID = watcher.id
    }
    guard inFragments else {
      return send(response.with(messages), on: stream)
    }
    for (number, message) in messages.enumerated() where streams.contains(where: { $0 === stream }) {
      var fragment = response.with([message])
      fragment.fragment = number < messages.count - 1
      send(fragment, on: stream)
    }
  }

  /// Breaks a stream.
  func fail(
    _ stream: Stream, _ status: GRPCStatus = GRPCStatus(.unavailable, "etcdserver: server stopped", origin: .server)
  ) {
    streams.removeAll { $0 === stream }
    stream.call.delegate.call(stream.call, endedWith: status)
  }

  /// Does everything that is left to do.
  func settle() {
    repeat {
      for stream in streams {
        while !stream.requests.isEmpty { takeRequest(stream) }
        while !stream.answers.isEmpty { sendAnswer(stream) }
        for index in stream.watchers.indices.reversed() where index < stream.watchers.count {
          sendEvents(stream, watcher: index)
        }
      }
      turn()
    } while streams.contains { !$0.requests.isEmpty || !$0.answers.isEmpty }
  }

  func send(_ response: Etcdserverpb_WatchResponse, on stream: Stream) {
    let bytes: [UInt8] = try! response.serializedBytes()
    stream.call.delegate.call(stream.call, willReceive: bytes.count)
    for byte in stride(from: 0, to: bytes.count, by: max(7, bytes.count / 64)) {
      bytes[byte..<min(byte + max(7, bytes.count / 64), bytes.count)].withUnsafeBytes {
        stream.call.delegate.call(stream.call, received: $0)
      }
    }
    stream.call.delegate.callReceivedMessage(stream.call)
  }
}

extension Etcdserverpb_WatchResponse {
  fileprivate func with(_ events: [Mvccpb_Event]) -> Self {
    var copy = self
    copy.events = events
    return copy
  }
}

/// A client of the hub that keeps all responses.
final class WatchListener: WatchClientDelegate {
  private(set) var client: WatchClient!
  private(set) var responses: [Etcdserverpb_WatchResponse] = []
  private(set) var objects: [ObjectIdentifier] = []
  private(set) var status: GRPCStatus?
  /// Called for each response.
  var onResponse: () -> Void = {}
  var onEnd: () -> Void = {}

  init(_ etcd: SimulatedEtcd, credentials: CallCredentials = .none) {
    client = etcd.hub.open(for: Caller(credentials, peer: .itself), delegate: self)
  }

  deinit { client.cancel() }

  func create(_ key: String, id: Int64 = 0, from revision: Int64 = 0, fragments: Bool = false) {
    send { request in
      request.createRequest.key = Data(key.utf8)
      request.createRequest.watchID = id
      request.createRequest.startRevision = revision
      request.createRequest.fragment = fragments
    }
  }

  func send(_ build: (inout Etcdserverpb_WatchRequest) -> Void) {
    var request = Etcdserverpb_WatchRequest()
    build(&request)
    let bytes: [UInt8] = try! request.serializedBytes()
    bytes.withUnsafeBytes { bytes in
      do { try client.receive(bytes) } catch { Issue.record("\(error)") }
    }
  }

  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64) {
    var bytes: [UInt8] = []
    response.encoded(watchID: watchID) { bytes += $0 }
    responses.append(try! Etcdserverpb_WatchResponse(serializedBytes: bytes))
    objects.append(ObjectIdentifier(response))
    onResponse()
  }

  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus) {
    self.status = status
    onEnd()
  }

  var created: [Etcdserverpb_WatchResponse] { responses.filter(\.created) }
  var revisions: [Int64] { responses.flatMap { $0.events.map(\.kv.modRevision) } }
}
