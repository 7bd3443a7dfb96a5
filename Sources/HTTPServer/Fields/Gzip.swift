package import ByteBuffers
internal import CZlib

/// The content coding gzip (RFC 9110, section 8.4.1.3), for whole bodies without secrets: if an attacker
/// chooses a part of the compressed text, its size reveals the rest (BREACH).
package enum Gzip {
  /// Larger bodies are worth the time that this takes on both sides, in bytes.
  package static let threshold = 1024

  /// What is packed for one client costs no more time than it has to; what is packed once for all is as small as can
  /// be.
  package enum Effort: Int32 {
    case least = 1
    case most = 9
  }

  /// The same bytes in this coding.
  ///
  /// - Returns: nil if they are no larger than ``threshold``, and if memory is short.
  package static func packed(_ bytes: UnsafeRawBufferPointer, _ effort: Effort) -> ByteBuffer? {
    guard bytes.count > threshold, let input = bytes.bindMemory(to: UInt8.self).baseAddress,
      let inputCount = UInt32(exactly: bytes.count)
    else { return nil }
    var stream = z_stream()
    guard gzip_begin(&stream, effort.rawValue) == Z_OK else { return nil }
    defer { deflateEnd(&stream) }
    // All that it may take, so that one call is enough.
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

  /// What an answer has that there is in several codings.
  ///
  /// - Parameter isPacked: whether this is the packed one.
  package static func headers(isPacked: Bool) -> HTTPResponse.Headers {
    let variance: HTTPResponse.Headers = [("Vary", "Accept-Encoding")]
    return isPacked ? variance + [("Content-Encoding", "gzip")] : variance
  }
}
