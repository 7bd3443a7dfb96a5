import ByteBuffers
import EtcdSchema
import EventLoop
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// A stream that is one call of its own, with one request and any number of responses: a snapshot, or what is observed
/// of an election.
///
/// etcd ends what it observes without an error once the token has expired, and with one when the member goes: an
/// observation goes on by another call, and tells nothing twice.
class ServerStreamSession: StreamSession, CallDelegate {
  private let route: RPCRoute
  unowned let sink: any StreamSink
  unowned let shard: Shard
  private let caller: Caller
  private let timeout: GRPCTimeout?
  private var call: Call?
  private var hasRequest = false
  private var isPaused = false

  // Of an observation.
  /// What is asked for, to be asked again; nil for what has an end.
  private var request: [UInt8]?
  /// Those calls that told nothing new.
  private var vainCalls = VainCalls()
  /// How large a message may be, in bytes, as it is kept whole. etcd's parts of a snapshot are 32 KiB, and what
  /// candidates proclaim is no larger than a request may be.
  private static let maxBytes = 16 << 20
  /// How many milliseconds lie between two calls.
  private static let pauseBetween: UInt64 = 100
  /// The call that has ended, until another one begins.
  private var ended: Call?
  private lazy var reopening = LoopTimer(loop: shard.loop) { [unowned self] in reopen() }
  /// The leader that the client was told of last.
  private var told: ObservedLeader?
  private var incoming: [UInt8] = []

  // The message that is being received.
  private var frame = ByteBuffer()
  private var transcoder: ResponseTranscoder?
  /// What has come of a large one.
  private var kept: KeptBytes

  init(
    _ route: RPCRoute, sink: any StreamSink, shard: Shard, caller: Caller, timeout: GRPCTimeout?
  ) {
    kept = KeptBytes(shard.memory)
    self.route = route
    self.sink = sink
    self.shard = shard
    self.caller = caller
    self.timeout = timeout
  }

  // MARK: - From the client

  func receive(_ message: consuming ByteBuffer) {
    // One request is all there is to such a stream.
    guard !hasRequest else { return }
    hasRequest = true
    if route.isEndless { request = message.withUnsafeBytes { Array($0[CallMessage.headroom...]) } }
    let call = Call(
      route.method, message: CallMessage(takingOwnershipOf: message.release()), timeout: timeout, delegate: self)
    begin(call)
    shard.bridge.start(call, for: caller)
  }

  private func begin(_ call: Call) {
    call.maxBytes = Self.maxBytes
    self.call = call
    vainCalls.begin(at: shard.loop.now)
  }

  func receiveEnd() {
    if let call { shard.bridge.finishSending(call) }
  }

  func sinkHasRoom() {
    guard isPaused, let call else { return }
    isPaused = false
    shard.bridge.resume(call)
  }

  func cancel() {
    reopening.stop()
    if let call { shard.bridge.cancel(call) }
    call = nil
  }

  /// Goes on with another call, and with another token.
  private func reopen() {
    guard let request else { return }
    let call = Call(route.method, message: CallMessage(copying: request), timeout: timeout, delegate: self)
    begin(call)
    isPaused = false
    shard.bridge.start(call, for: caller, insteadOf: ended.take())
    shard.bridge.finishSending(call)
  }

  /// Whether another call may go on with what this one has observed.
  private func mayGoOn(after status: GRPCStatus, of call: Call) -> Bool {
    guard request != nil, status.isOK || told != nil && status.code == .unavailable, call.endpoint != nil else {
      return false
    }
    return vainCalls.mayFollow(at: shard.loop.now)
  }

  // MARK: - How it is told, which others may override

  func heartbeat() -> StreamFrame? { .heartbeat }

  func refusal(_ status: GRPCStatus, hadCredentials: Bool) -> HTTPResponse {
    .error(status, hadCredentials: hadCredentials)
  }

  func ending(_ status: GRPCStatus, hadCredentials: Bool) -> StreamFrame {
    .error(status, hadCredentials: hadCredentials)
  }

  /// A message begins.
  func beginMessage() {
    frame = StreamFrame.begin()
    frame.append("{\"result\":")
    transcoder = ResponseTranscoder(route.response)
  }

  /// Makes a frame of the message that was received.
  ///
  /// - Parameter message: its bytes, if it is an observation's.
  /// - Throws: if it is not an answer of etcd.
  func endMessage(_ message: [UInt8]) throws -> StreamFrame {
    try transcoder?.finish(into: &frame)
    frame.append("}")
    return StreamFrame(finishing: frame.takeAll())
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {
    incoming = []
    beginMessage()
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    if request != nil { incoming += bytes }
    transcoder?.push(bytes, into: &frame)
    let count = frame.count + incoming.count
    guard count > MemoryAccount.uncounted, !kept.set(to: count) else { return }
    frame.removeAll()
    cancel()
    sink.fail(GRPCStatus(.resourceExhausted, "\(MemoryAccount.shortage)"))
  }

  func callReceivedMessage(_ call: Call) {
    // What goes to the client is counted there.
    kept.release()
    let frame: StreamFrame
    do {
      frame = try endMessage(incoming)
    } catch {
      cancel()
      return sink.fail(shard.misunderstood(error, for: sink.requestID))
    }
    if request != nil {
      let leader = ObservedLeader(incoming)
      // Another call begins with what is known already.
      guard leader == nil || leader != told else { return }
      told = leader ?? told
      vainCalls.wasOfUse()
    }
    sink.send(frame)
    if self.call === call && !isPaused && sink.backlog > shard.settings.streams.backlog {
      isPaused = true
      shard.bridge.pause(call)
    }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    if mayGoOn(after: status, of: call) {
      ended = call
      return reopening.start(after: Self.pauseBetween)
    }
    guard status.isOK, request != nil else { return status.isOK ? sink.finish() : sink.fail(status) }
    sink.fail(GRPCStatus(.unavailable, "etcd keeps ending the observation at once, without a reason"))
  }
}

/// What tells one leader, or one value that it has proclaimed, from another.
private struct ObservedLeader: Equatable {
  let key: [UInt8]
  let createRevision: Int64
  let modRevision: Int64

  /// - Parameter message: an encoded `LeaderResponse`.
  init?(_ message: [UInt8]) {
    guard let kv = try? V3electionpb_LeaderResponse(serializedBytes: message).kv else { return nil }
    key = Array(kv.key)
    createRevision = kv.createRevision
    modRevision = kv.modRevision
  }
}
