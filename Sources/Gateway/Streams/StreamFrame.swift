import ByteBuffers
import HTTPServer
import ProtobufWire
import Transcoding

/// One message of a stream, encoded once and sent to any number of clients: a line of JSON and, around it, the framing
/// of an HTTP/1.1 chunk (RFC 9112, section 7.1); beside it the header that makes the JSON a WebSocket's text message.
///
/// Its bytes never change once it is made, so that the queues of many sockets refer to them.
final class StreamFrame: Sendable {
  /// Room for the header of a WebSocket's frame, for the chunk's length in up to eight digits and the line end after
  /// it.
  private static let headroom = WebSocketHeader.maxBytes + 10
  private static let tail: StaticString = "\n\r\n"

  /// What has the bytes.
  let owner: SocketBytes
  private let chunkStart: Int
  private let messageHeaderCount: Int

  /// A buffer for the one JSON value of a frame that is made by ``init(finishing:)``.
  static func begin() -> ByteBuffer {
    var bytes = ByteBuffer()
    bytes.appendZeros(headroom)
    return bytes
  }

  /// Makes a frame of a buffer that came from ``begin()`` and to which one JSON value was appended.
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
  /// - Throws: `TranscodingError` if that is no such message.
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

  /// An empty line, which a client that asked for heartbeats gets while there is nothing else.
  static let heartbeat = StreamFrame(isShared: true) { _ in }

  /// The JSON and a line feed as one chunk of a body. The bytes live, where they are, as long as ``owner``.
  var chunk: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[chunkStart...]) }
  }

  /// The JSON and a line feed. The bytes live, where they are, as long as ``owner``.
  var line: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[Self.headroom..<$0.count - 2]) }
  }

  /// The JSON alone. The bytes live, where they are, as long as ``owner``.
  var json: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[Self.headroom..<$0.count - 3]) }
  }

  /// What stands before ``json`` in a WebSocket's text message. The bytes live, where they are, as long as ``owner``.
  var messageHeader: UnsafeRawBufferPointer {
    owner.buffer.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: $0[..<messageHeaderCount]) }
  }
}
