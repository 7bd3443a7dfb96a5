package import ByteBuffers
internal import CZlib

/// The content coding gzip (RFC 9110, section 8.4.1.3), for whole bodies without secrets: if an attacker chooses a part
/// of the compressed text, the compressed size reveals the rest (BREACH).
package enum Gzip {
  /// Bodies of at most so many bytes are not worth the time that compression takes on both sides.
  static let threshold = 1024

  /// A body that is compressed for one client costs as little time as possible; one that is compressed once for all
  /// clients is as small as possible.
  package enum Effort: Int32 {
    case least = 1
    case most = 9
  }

  /// The same bytes in this coding.
  ///
  /// - Returns: nil if they are not more than ``threshold``, or if memory is short.
  package static func packed(_ bytes: UnsafeRawBufferPointer, _ effort: Effort) -> ByteBuffer? {
    guard bytes.count > threshold, let input = bytes.bindMemory(to: UInt8.self).baseAddress,
      let inputCount = UInt32(exactly: bytes.count)
    else { return nil }
    var stream = z_stream()
    guard gzip_begin(&stream, effort.rawValue) == Z_OK else { return nil }
    defer { deflateEnd(&stream) }
    // The most that the result may take, so that one call is enough.
    guard let room = Int(exactly: deflateBound(&stream, UInt(inputCount))), let outputCount = UInt32(exactly: room)
    else {
      return nil
    }
    var output = ByteBuffer()
    stream.next_in = UnsafeMutablePointer(mutating: input)
    stream.avail_in = inputCount
    stream.next_out = output.reserve(room)
    stream.avail_out = outputCount
    guard deflate(&stream, Z_FINISH) == Z_STREAM_END else { return nil }
    output.commit(Int(outputCount - stream.avail_out))
    return output
  }

  /// The header fields of an answer that exists with and without this coding.
  ///
  /// - Parameter isPacked: whether this is the compressed one.
  package static func headers(isPacked: Bool) -> HTTPResponse.Headers {
    let variance: HTTPResponse.Headers = [("Vary", "Accept-Encoding")]
    return isPacked ? variance + [("Content-Encoding", "gzip")] : variance
  }
}
