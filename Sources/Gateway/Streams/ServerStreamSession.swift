import GrpcBridge
import Transcoding

/// A stream that is one call of its own, with one request and any number of responses: a snapshot, or what is observed of
/// an election.
final class ServerStreamSession: StreamSession, CallDelegate {
  private let route: RpcRoute
  private unowned let sink: any StreamSink
  private unowned let shard: Shard
  private let caller: Caller
  private let timeout: GrpcTimeout?
  private var call: Call?
  private var isPaused = false

  // The message that is being received.
  private var frame = ByteBuffer()
  private var transcoder: ProtobufToJSON?
  private var fault: TranscodingError?

  init(
    _ route: RpcRoute, sink: any StreamSink, shard: Shard, caller: Caller, timeout: GrpcTimeout?
  ) {
    self.route = route
    self.sink = sink
    self.shard = shard
    self.caller = caller
    self.timeout = timeout
  }

  // MARK: - From the client

  func receive(_ message: consuming ByteBuffer) {
    // One request is all there is to such a stream.
    guard call == nil else { return }
    let call = Call(
      route.method, message: CallMessage(takingOwnershipOf: message.release()), timeout: timeout, delegate: self)
    self.call = call
    shard.bridge.start(call, for: caller)
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
    if let call { shard.bridge.cancel(call) }
    call = nil
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {
    frame = StreamFrame.begin()
    frame.append("{\"result\":")
    transcoder = ProtobufToJSON(route.response)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    // What follows a fault cannot be understood; the message's end tells of it.
    guard fault == nil else { return }
    do throws(TranscodingError) {
      try transcoder?.push(bytes, into: &frame)
    } catch {
      fault = error
    }
  }

  func callReceivedMessage(_ call: Call) {
    do throws(TranscodingError) {
      if let fault { throw fault }
      try transcoder?.finish(into: &frame)
    } catch {
      let status = GrpcStatus(.internal, "an answer of etcd is not understood: \(error)")
      shard.logger.error("\(status.message)")
      cancel()
      return sink.fail(status)
    }
    frame.append("}")
    sink.send(StreamFrame(finishing: frame.takeAll()))
    if !isPaused && sink.backlog > shard.settings.streams.backlog {
      isPaused = true
      shard.bridge.pause(call)
    }
  }

  func call(_ call: Call, endedWith status: GrpcStatus) {
    self.call = nil
    if status.isOK { sink.finish() } else { sink.fail(status) }
  }
}
