import GrpcBridge
import Transcoding

/// Turns the response of a call into JSON as it comes. What is wrong with it is told once, at its end: what follows a
/// fault cannot be understood.
struct ResponseTranscoder: ~Copyable {
  private var transcoder: ProtobufToJSON
  private var fault: TranscodingError?

  init(_ message: Schema.Message) { transcoder = ProtobufToJSON(message) }

  /// Takes the next bytes of the message and appends to `output` the JSON that they make.
  mutating func push(_ bytes: UnsafeRawBufferPointer, into output: inout ByteBuffer) {
    guard fault == nil else { return }
    do throws(TranscodingError) {
      try transcoder.push(bytes, into: &output)
    } catch {
      fault = error
    }
  }

  /// Completes the document.
  ///
  /// - Throws: `TranscodingError` if the bytes are not of such a message, or the message is cut short.
  mutating func finish(into output: inout ByteBuffer) throws(TranscodingError) {
    if let fault { throw fault }
    try transcoder.finish(into: &output)
  }
}

extension Shard {
  /// What a call has come to whose answer is not what etcd gives.
  func misunderstood(_ fault: any Error) -> GRPCStatus {
    let status = GRPCStatus(.internal, "an answer of etcd is not understood: \(fault)")
    logger.error("\(status.message)")
    return status
  }

  /// Has a streamed answer go on with what was appended to its body, and holds the call back if the client is slow.
  func passOn(_ body: inout ResponseBodyBuffer, of call: Call, to exchange: Exchange) {
    if !body.keep() { bridge.cancel(call) } else if body.isFull { bridge.pause(call) }
    exchange.streamIsReadable()
  }
}
