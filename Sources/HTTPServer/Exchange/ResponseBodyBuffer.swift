package import ByteBuffers

/// The part of a streamed answer that libmicrohttpd has not read yet, and the answer's ending. It is no ``ByteQueue``,
/// because answers are written into a ``ByteBuffer``, and only the reader should copy from that.
package struct ResponseBodyBuffer: ~Copyable {
  /// While more bytes than this are unread, the source is to be held back.
  static let highWater = 256 << 10

  /// Bytes to be read are appended here. Bytes that were read may still precede them.
  package var buffer = ByteBuffer()
  private var readCount = 0
  /// The result of reading after the last bytes; nil while more may come.
  private var ending: StreamRead?
  /// Counts the unread bytes as kept for the client.
  private var kept: KeptBytes

  package init(_ memory: MemoryAccount) { kept = KeptBytes(memory) }

  var count: Int { buffer.count - readCount }
  package var isFull: Bool { count > Self.highWater }

  /// Whether everything has been read, and more may come.
  package var isDrained: Bool { count == 0 && ending == nil }

  /// Counts the unread bytes. To be called after something was appended.
  ///
  /// - Returns: false if there is no room for them: they are dropped, and the answer breaks off.
  package mutating func keep() -> Bool {
    if kept.set(to: count) { return true }
    buffer.removeAll()
    readCount = 0
    kept.release()
    ending = .broken
    return false
  }

  /// Nothing more comes.
  ///
  /// - Parameter isBroken: whether the answer is incomplete.
  package mutating func end(isBroken: Bool) { ending = isBroken ? .broken : .end }

  /// Moves as many bytes as fit to `target`. Returns how many, or why there are none.
  package mutating func read(into target: UnsafeMutableRawBufferPointer) -> StreamRead {
    let size = min(target.count, count)
    guard size > 0 else { return ending ?? .notYet }
    buffer.withUnsafeBytes {
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[readCount..<readCount + size]))
    }
    readCount += size
    _ = kept.set(to: min(count, kept.count))
    if readCount == buffer.count {
      // Empty capacity that is kept for later bytes is not counted.
      buffer.removeAll(keepingCapacity: buffer.count <= Self.highWater)
      readCount = 0
    } else if readCount > Self.highWater {
      // If a reader keeps pace but never catches up, the bytes that it has read must not stay in memory.
      var rest = ByteBuffer(capacity: count)
      buffer.withUnsafeBytes { rest.append(UnsafeRawBufferPointer(rebasing: $0[readCount...])) }
      buffer = rest
      readCount = 0
    }
    return .bytes(size)
  }

  /// Takes everything out, if nothing was read yet.
  package mutating func takeAll() -> ByteBuffer {
    kept.release()
    return buffer.takeAll()
  }
}
