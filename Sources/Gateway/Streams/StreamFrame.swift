import ByteBuffers
import HTTPServer
import ProtobufWire
import Transcoding

/// One message of a stream, encoded once and sent to any number of clients: a line of JSON within the framing of an
/// HTTP/1.1 chunk (RFC 9112, section 7.1), and the header that makes the JSON a WebSocket's text message.
///
/// Its bytes never change once it is made, so that the queues of many sockets can refer to them.
final class StreamFrame: Sendable {
  /// Room for the header of a WebSocket's frame, for the chunk's length in up to eight digits and the line end after
  /// it.
  private static let headroom = WebSocketHeader.maxBytes + 10
  private static let tail: StaticString = "\n\r\n"

  /// Owns the bytes.
  let owner: SocketBytes
  private let chunkStart: Int
  private let messageHeaderCount: Int

  /// A buffer for the one JSON value of a frame, for ``init(finishing:)``.
  static func begin() -> ByteBuffer {
    var bytes = ByteBuffer()
    bytes.appendZeros(headroom)
    return bytes
  }

  /// Makes a frame from a buffer of ``begin()`` to which one JSON value was appended.
  init(finishing bytes: consuming ByteBuffer, isShared: Bool = false) {
    // The chunk is the JSON and a line feed.
    var length = bytes.count - Self.headroom + 1
    bytes.append(Self.tail)
    var start = Self.headroom - 2
    bytes.withUnsafeMutableBytes {
      $0[start] = UInt8(ascii: "\r")
      $0[start + 1] = UInt8(ascii: "\n")
      repeat {
        start -= 1
        let digit = UInt8(length & 15)
        $0[start] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit
        length >>= 4
      } while length > 0
    }
    let count = bytes.count - Self.headroom - Self.tail.utf8CodeUnitCount
    messageHeaderCount = bytes.withUnsafeMutableBytes { WebSocketHeader.write(.text, count: count, to: $0) }
    chunkStart = start
    owner = SocketBytes(bytes, isShared: isShared)
  }

  /// Makes a frame of the one JSON value that `write` appends.
  convenience init<E: Error>(isShared: Bool = false, _ write: (inout ByteBuffer) throws(E) -> Void) throws(E) {
    var bytes = Self.begin()
    try write(&bytes)
    self.init(finishing: bytes, isShared: isShared)
  }

  /// Makes the frame of one response of a stream, `{"result":…}`.
  ///
  /// - Parameter message: passes on the encoded response, in pieces.
  /// - Throws: `TranscodingError` if the response is malformed.
  convenience init(
    result type: Schema.Message, _ message: ((UnsafeRawBufferPointer) -> Void) -> Void
  ) throws(TranscodingError) {
    try self.init { json throws(TranscodingError) in
      var transcoder = ProtobufToJSON(type)
      var fault: TranscodingError?
      json.append("{\"result\":")
      message { piece in
        guard fault == nil else { return }
        do throws(TranscodingError) { try transcoder.push(piece, into: &json) } catch { fault = error }
      }
      if let fault { throw fault }
      try transcoder.finish(into: &json)
      json.append("}")
    }
  }

  /// An empty line, which a client with heartbeats gets while there is nothing else.
  static let heartbeat = StreamFrame(isShared: true) { _ in }

  /// The JSON and a line feed as one chunk of a body. The bytes stay in place as long as ``owner`` lives.
  var chunk: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[chunkStart...]) }
  }

  /// The JSON and a line feed. The bytes stay in place as long as ``owner`` lives.
  var line: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[Self.headroom..<$0.count - 2]) }
  }

  /// The JSON alone. The bytes stay in place as long as ``owner`` lives.
  var json: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[Self.headroom..<$0.count - 3]) }
  }

  /// The header before ``json`` in a WebSocket's text message. The bytes stay in place as long as ``owner`` lives.
  var messageHeader: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[..<messageHeaderCount]) }
  }
}
