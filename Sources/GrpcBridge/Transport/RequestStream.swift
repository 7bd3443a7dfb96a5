/// The request messages of a stream, one after the other as they go on the wire, so that many small ones share a DATA
/// frame. They are kept for a repeat of the call until the response has begun.
final class RequestStream {
  /// As much as is kept of what was sent and is not needed any more, rather than moving the rest at once.
  private static let maxGarbage = 65_536

  private var bytes: [UInt8] = []
  /// How many bytes of the stream went by before the first of `bytes`.
  private var released = 0
  /// Whether no more messages follow (gRPC over HTTP/2, "EOS").
  var isFinished = false

  func append(_ message: borrowing CallMessage) { bytes.append(contentsOf: message.frame) }

  /// How many bytes there are from `offset` of the stream on.
  func count(from offset: Int) -> Int { released + bytes.count - offset }

  /// Copies the bytes from `offset` on, as far as `buffer` takes them.
  ///
  /// - Returns: how many these were.
  func read(into buffer: UnsafeMutableRawBufferPointer, from offset: Int) -> Int {
    let start = offset - released
    let count = min(buffer.count, bytes.count - start)
    bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count])) }
    return count
  }

  /// Lets go of what comes before `offset`: the call will not be repeated.
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
