/// The requests of a stream, one after the other as they are sent, so that many small ones share a DATA frame. They are
/// kept until the response has begun, as the call may be repeated until then.
final class RequestStream {
  /// How many bytes that are not needed any more are kept, at most, before the rest is moved.
  private static let maxGarbage = 65_536

  private var bytes: [UInt8] = []
  /// The offset in the stream of the first of `bytes`.
  private var released = 0
  /// Whether no more messages follow (gRPC over HTTP/2, "EOS").
  var isFinished = false

  func append(_ message: borrowing CallMessage) { bytes.append(contentsOf: message.frame) }

  /// How many bytes the stream has from `offset` on.
  func count(from offset: Int) -> Int { released + bytes.count - offset }

  /// Copies the bytes from `offset` on, as many as fit into `buffer`.
  ///
  /// - Returns: how many bytes were copied.
  func read(into buffer: UnsafeMutableRawBufferPointer, from offset: Int) -> Int {
    let start = offset - released
    let count = min(buffer.count, bytes.count - start)
    bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
    return count
  }

  /// Releases the bytes before `offset`, as the call will not be repeated.
  func release(upTo offset: Int) {
    let count = offset - released
    if count == bytes.count {
      bytes.removeAll(keepingCapacity: bytes.capacity <= Self.maxGarbage)
    } else if count >= Self.maxGarbage {
      bytes.removeSubrange(..<count)
    } else {
      return
    }
    released = offset
  }
}
