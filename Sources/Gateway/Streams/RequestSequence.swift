import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// The requests of a stream that came in one text, one JSON value after the other. Each is encoded when it is needed,
/// so that a text of many takes no more memory than its bytes. Belongs to its shard's loop.
final class RequestSequence {
  /// What is wrong with a request, and its number, from 1 on.
  struct Fault: Error {
    let number: Int
    let error: TranscodingError
  }

  private let type: Schema.Message
  private let isStrict: Bool
  private let text: ByteBuffer
  /// The beginning of the next request, or the end of the text, and the number of those before it.
  private var position = 0
  private var count = 0
  /// Counts the text as kept for the client.
  private var kept: KeptBytes

  /// - Throws: ``RequestError`` if there is no room for the text.
  init(_ text: consuming ByteBuffer, of route: RPCRoute, isStrict: Bool, memory: MemoryAccount) throws(RequestError) {
    type = route.request
    self.isStrict = isStrict
    var kept = KeptBytes(memory)
    guard kept.grow(by: text.count) else { throw .shortage }
    self.kept = kept
    self.text = text
    position = beginning(after: 0)
  }

  /// Whether no request is left.
  var isAtEnd: Bool { position == text.count }

  /// The next request, after room for its gRPC prefix.
  ///
  /// - Throws: ``Fault`` if it is malformed.
  func next() throws(Fault) -> ByteBuffer {
    var message = ByteBuffer()
    message.appendZeros(CallMessage.headroom)
    position = try encode(from: position, number: count + 1, into: &message)
    count += 1
    return message
  }

  /// Checks all requests, of which there must be one, so that a fault is found before anything is executed.
  ///
  /// - Throws: ``Fault`` for the first that is malformed.
  func check() throws(Fault) {
    var position = self.position
    var count = self.count
    var message = ByteBuffer()
    while position < text.count {
      message.truncate(to: 0)
      position = try encode(from: position, number: count + 1, into: &message)
      count += 1
    }
  }

  /// - Returns: the beginning of the next request.
  private func encode(from start: Int, number: Int, into message: inout ByteBuffer) throws(Fault) -> Int {
    do throws(TranscodingError) {
      let end: Int = try text.withUnsafeBytes { text throws(TranscodingError) in
        let rest = UnsafeRawBufferPointer(rebasing: text[start...])
        return try start + JSONToProtobuf.encode(rest, as: type, strict: isStrict, sequence: true, into: &message)
      }
      return beginning(after: end)
    } catch {
      throw Fault(number: number, error: error.preceded(by: start))
    }
  }

  /// Where a request begins after `end`, behind white space (RFC 8259, section 2); the end of the text if none does.
  private func beginning(after end: Int) -> Int {
    text.withUnsafeBytes { text in
      text[end...].firstIndex { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 } ?? text.count
    }
  }
}
