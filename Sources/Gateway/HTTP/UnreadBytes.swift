import Transcoding

/// The part of a streamed answer that libmicrohttpd has not read yet.
struct UnreadBytes: ~Copyable {
  /// While more than this is unread, the source is to be held back.
  static let highWater = 256 << 10

  /// What is appended here is to be read. Read bytes may still be in front of it.
  var buffer = ByteBuffer()
  private var readCount = 0

  var count: Int { buffer.count - readCount }
  var isFull: Bool { count > Self.highWater }

  /// Moves as much as fits to `target`; returns how much that was.
  mutating func read(into target: UnsafeMutableRawBufferPointer) -> Int {
    let size = min(target.count, count)
    guard size > 0 else { return 0 }
    buffer.withUnsafeBytes {
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[readCount..<readCount + size]))
    }
    readCount += size
    if readCount == buffer.count {
      buffer.removeAll(keepingCapacity: true)
      readCount = 0
    } else if readCount > Self.highWater {
      // A reader that keeps pace without ever catching up must not make us keep what it has read.
      var rest = ByteBuffer(capacity: count)
      buffer.withUnsafeBytes { rest.append(UnsafeRawBufferPointer(rebasing: $0[readCount...])) }
      buffer = rest
      readCount = 0
    }
    return size
  }

  /// Takes all out, where nothing was read.
  mutating func takeAll() -> ByteBuffer { buffer.takeAll() }
}
