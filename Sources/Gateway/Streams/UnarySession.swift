import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Unary calls over a WebSocket: each message is one call, answered by one message with the response's JSON, or with
/// that of an error. One call is under way at a time; further requests stay with the client's system.
///
/// The gateway inside etcd answers in the same way, but takes one call and then cuts the connection.
final class UnarySession: StreamSession {
  /// An answer up to this size is sent whole; a larger one in fragments of about this size, as it comes.
  private static let fragment = 64 << 10

  private let route: RPCRoute
  private unowned let sink: any MessageSink
  private unowned let shard: Shard
  private let caller: Caller
  private let timeout: GRPCTimeout?
  private var call: Call?
  private var isPaused = false

  // The answer.
  private var json = ByteBuffer()
  private var transcoder: ResponseTranscoder?
  private var isLarge = false
  private var hasSentPart = false

  /// - Parameter timeout: the time limit of each call; nil for none.
  init(
    _ route: RPCRoute, sink: any MessageSink, shard: Shard, caller: Caller, timeout: GRPCTimeout?
  ) {
    self.route = route
    self.sink = sink
    self.shard = shard
    self.caller = caller
    self.timeout = timeout
  }

  // MARK: - From the client

  func receive(_ message: consuming ByteBuffer) {
    precondition(call == nil, "a request came while none was wanted")
    transcoder = nil
    isLarge = false
    hasSentPart = false
    isPaused = false
    do throws(RequestError) {
      try route.checkPassword(in: message)
    } catch {
      return sink.send(.unaryError(GRPCStatus(error.grpcCode, error.message)))
    }
    let call = Call(
      route.method, message: CallMessage(takingOwnershipOf: message.release()), timeout: timeout, delegate: self)
    self.call = call
    sink.takesRequests = false
    if route.isAuthenticate {
      shard.bridge.startLogin(call, from: caller.peer)
    } else {
      shard.bridge.start(call, for: caller)
    }
  }

  func receiveEnd() {}

  func sinkHasRoom() {
    guard isPaused, let call else { return }
    isPaused = false
    shard.bridge.resume(call)
  }

  func cancel() {
    if let call { shard.bridge.cancel(call) }
    call = nil
  }
}

extension UnarySession: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    transcoder = ResponseTranscoder(route.response)
    isLarge = length > Self.fragment
    json = isLarge ? ByteBuffer() : StreamFrame.begin()
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    transcoder?.push(bytes, into: &json)
    guard isLarge, json.count >= Self.fragment else { return }
    sink.send(part: json.takeAll(), isFirst: !hasSentPart, isLast: false)
    hasSentPart = true
    if !isPaused && sink.backlog > shard.settings.streams.backlog {
      isPaused = true
      shard.bridge.pause(call)
    }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    var status = status
    if status.isOK {
      do throws(TranscodingError) {
        try transcoder?.finish(into: &json)
      } catch {
        status = shard.misunderstood(error, for: sink.requestID)
      }
    }
    if status.isOK && !sink.requestWasGood() { return }
    switch (status.isOK, isLarge) {
    case (true, false): sink.send(StreamFrame(finishing: json.takeAll()))
    case (true, true): sink.send(part: json.takeAll(), isFirst: !hasSentPart, isLast: true)
    // A partial answer cannot be taken back.
    case (false, _) where hasSentPart: return sink.fail(status)
    case (false, _): sink.send(.unaryError(status))
    }
    sink.takesRequests = true
  }
}

extension StreamFrame {
  /// The answer to a unary call that failed: the body of the corresponding HTTP response.
  static func unaryError(_ status: GRPCStatus) -> StreamFrame {
    StreamFrame { $0.appendError(status.code, status.message) }
  }
}
