import ByteBuffers
import EtcdSchema
import EventLoop
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// A stream that is one call of its own, with one request and any number of responses: a snapshot, or the observation
/// of an election.
///
/// etcd ends an observation without an error once the token has expired, and with one when the member goes. The session
/// then continues with another call, and reports nothing twice.
class ServerStreamSession: StreamSession, CallDelegate {
  private let route: RPCRoute
  unowned let sink: any StreamSink
  unowned let shard: Shard
  private let caller: Caller
  private let timeout: GRPCTimeout?
  private var call: Call?
  private var hasRequest = false
  private var isPaused = false

  // For an observation.
  /// The request, to be sent again; nil for a stream with an end of its own.
  private var request: [UInt8]?
  /// Counts calls that brought nothing new.
  private var vainCalls = VainCalls()
  /// How large a message may be, in bytes, as it is kept whole. etcd's parts of a snapshot are 32 KiB, and a
  /// candidate's value is no larger than a request may be.
  private static let maxBytes = 16 << 20
  /// How many milliseconds to wait between two calls.
  private static let pauseBetween: UInt64 = 100
  /// The call that has ended, until another one begins.
  private var ended: Call?
  private lazy var reopening = LoopTimer(loop: shard.loop) { [unowned self] in reopen() }
  /// The leader that the client has seen last.
  private var told: ObservedLeader?
  private var incoming: [UInt8] = []

  // The message that is being received.
  private var frame = ByteBuffer()
  private var transcoder: ResponseTranscoder?
  /// Counts a large message while it comes.
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
    // Such a stream has only one request.
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

  /// Continues with another call, and another token.
  private func reopen() {
    guard let request else { return }
    let call = Call(route.method, message: CallMessage(copying: request), timeout: timeout, delegate: self)
    begin(call)
    isPaused = false
    shard.bridge.start(call, for: caller, insteadOf: ended.take())
    shard.bridge.finishSending(call)
  }

  /// Whether another call may continue the observation.
  private func mayGoOn(after status: GRPCStatus, of call: Call) -> Bool {
    guard request != nil, status.isOK || told != nil && status.code == .unavailable, call.endpoint != nil else {
      return false
    }
    return vainCalls.mayFollow(at: shard.loop.now)
  }

  // MARK: - The form of messages, for subclasses to override

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

  /// Makes a frame from the received message.
  ///
  /// - Parameter message: its bytes, for an observation.
  /// - Throws: `TranscodingError` if it is not an answer of etcd's.
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
    // From here on the client's socket counts the bytes.
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
      // Another call begins with what the client knows already.
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

/// Distinguishes leaders, and the values that a leader has proclaimed.
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
