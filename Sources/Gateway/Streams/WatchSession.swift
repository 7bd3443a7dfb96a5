import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// The watches of one client.
final class WatchSession: StreamSession {
  private let route: RPCRoute
  private unowned let sink: any StreamSink
  private unowned let shard: Shard
  private var client: WatchClient!
  /// Counts its watches as kept for the client.
  private var kept: KeptBytes
  private var hasAllRequests = false
  private var isOver = false

  init(_ route: RPCRoute, sink: any StreamSink, shard: Shard, caller: Caller) {
    self.route = route
    self.sink = sink
    self.shard = shard
    kept = KeptBytes(shard.memory)
    client = shard.bridge.watches.open(for: caller, delegate: self)
  }

  func receive(_ message: consuming ByteBuffer) {
    guard !isOver else { return }
    do throws(GRPCStatus) {
      try message.withUnsafeBytes { bytes throws(GRPCStatus) in
        try client.receive(UnsafeRawBufferPointer(rebasing: bytes[CallMessage.headroom...]))
      }
      guard !isOver else { return }
      guard kept.set(to: client.keptBytes) else {
        throw GRPCStatus(.resourceExhausted, "\(MemoryAccount.shortage)")
      }
    } catch {
      return end(error)
    }
    if !client.takesRequests { sink.takesRequests = false }
  }

  func receiveEnd() {
    hasAllRequests = true
    finishIfDone()
  }

  func sinkHasRoom() { client.resume() }

  func cancel() {
    isOver = true
    client.cancel()
    kept.release()
  }

  private func end(_ status: GRPCStatus) {
    guard !isOver else { return }
    cancel()
    sink.fail(status)
  }

  /// Ends a stream on which nothing more can come, which etcd's own gateway leaves open for ever.
  private func finishIfDone() {
    guard hasAllRequests, !isOver, !client.hasAnythingToTell else { return }
    cancel()
    sink.finish()
  }
}

extension WatchSession: WatchClientDelegate {
  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64) {
    do throws(TranscodingError) {
      let frame = try response.rendering(variant: watchID) { () throws(TranscodingError) in
        try StreamFrame(result: route.response) { response.encoded(watchID: watchID, $0) }
      }
      sink.send(frame)
    } catch {
      return end(shard.misunderstood(error, for: sink.requestID))
    }
    // The sink may have passed on another request, which has ended the session.
    guard !isOver else { return }
    if sink.backlog > shard.settings.streams.backlog { client.pause() }
    if client.takesRequests { sink.takesRequests = true }
    finishIfDone()
  }

  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus) { end(status) }
}
