import Transcoding

/// The requests of one stream, all of which have come: each encoded as protobuf behind `CallMessage.headroom` bytes of room.
final class StreamRequests {
  private let messages: ByteBuffer
  /// Where each ends.
  private let ends: [Int]
  private var taken = 0

  init(_ messages: consuming ByteBuffer, ends: [Int]) {
    self.messages = messages
    self.ends = ends
  }

  /// The next one; nil if there are no more.
  func next() -> ByteBuffer? {
    guard taken < ends.count else { return nil }
    let range = (taken == 0 ? 0 : ends[taken - 1])..<ends[taken]
    taken += 1
    var copy = ByteBuffer(capacity: range.count)
    messages.withUnsafeBytes { copy.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
    return copy
  }
}
