import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
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
  ///
  /// - Parameter id: of the request that the call was made for.
  func misunderstood(_ fault: any Error, for id: String) -> GRPCStatus {
    let status = GRPCStatus(.internal, "etcd sent an invalid answer: \(fault)")
    logger.error("\(status.message)", metadata: ["request_id": "\(id)"])
    return status
  }

  /// Whether an answer may begin that is sent as it comes.
  var hasRoomForAnswer: Bool { memory.hasRoom(for: MemoryAccount.uncounted) }
}
