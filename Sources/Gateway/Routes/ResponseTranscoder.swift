import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Turns the response of a call into JSON as it comes. A fault is reported once, at its end: bytes after a fault cannot
/// be understood.
struct ResponseTranscoder: ~Copyable {
  private var transcoder: ProtobufToJSON
  private var fault: TranscodingError?

  init(_ message: Schema.Message) { transcoder = ProtobufToJSON(message) }

  /// Takes the next bytes of the message and appends their JSON to `output`.
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
  /// - Throws: `TranscodingError` if the bytes are no such message, or the message is incomplete.
  mutating func finish(into output: inout ByteBuffer) throws(TranscodingError) {
    if let fault { throw fault }
    try transcoder.finish(into: &output)
  }
}

extension Shard {
  /// The status of a call whose answer etcd would not give.
  ///
  /// - Parameter id: the ID of the request for which the call was made.
  func misunderstood(_ fault: any Error, for id: String) -> GRPCStatus {
    let status = GRPCStatus(.internal, "etcd sent an invalid answer: \(fault)")
    logger.error("\(status.message)", metadata: ["request_id": "\(id)"])
    return status
  }

  /// Whether there is room to begin an answer that is sent as it comes.
  var hasRoomForAnswer: Bool { memory.hasRoom(for: MemoryAccount.uncounted) }
}
