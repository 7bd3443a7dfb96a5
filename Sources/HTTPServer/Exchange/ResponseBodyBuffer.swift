package import ByteBuffers

/// The part of a streamed answer that libmicrohttpd has not read yet, and how the answer ends. It is no ``ByteQueue``,
/// as what makes the answer writes into a ``ByteBuffer``, from which nothing is to be copied but by the reader.
package struct ResponseBodyBuffer: ~Copyable {
  /// While more than this is unread, the source is to be held back.
  static let highWater = 256 << 10

  /// What is appended here is to be read. Read bytes may still be in front of it.
  package var buffer = ByteBuffer()
  private var readCount = 0
  /// What is read behind the last bytes; nil while more may come.
  private var ending: StreamRead?
  /// What is unread counts as kept for the client.
  private var kept: KeptBytes

  package init(_ memory: MemoryAccount) { kept = KeptBytes(memory) }

  package var count: Int { buffer.count - readCount }
  package var isFull: Bool { count > Self.highWater }

  /// Whether the reader has caught up, and more may come.
  package var isDrained: Bool { count == 0 && ending == nil }

  /// Counts what is unread, to be called after something was appended.
  ///
  /// - Returns: false if there is no room for it: it is thrown away, and the answer breaks off.
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
  /// - Parameter isBroken: whether something is missing.
  package mutating func end(isBroken: Bool) { ending = isBroken ? .broken : .end }

  /// Moves as much as fits to `target`, and tells how much that was, or why there is nothing.
  package mutating func read(into target: UnsafeMutableRawBufferPointer) -> StreamRead {
    let size = min(target.count, count)
    guard size > 0 else { return ending ?? .notYet }
    buffer.withUnsafeBytes {
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[readCount..<readCount + size]))
    }
    readCount += size
    _ = kept.set(to: min(count, kept.count))
    if readCount == buffer.count {
      // What is kept for what comes next is not counted.
      buffer.removeAll(keepingCapacity: buffer.count <= Self.highWater)
      readCount = 0
    } else if readCount > Self.highWater {
      // A reader that keeps pace without ever catching up must not make us keep what it has read.
      var rest = ByteBuffer(capacity: count)
      buffer.withUnsafeBytes { rest.append(UnsafeRawBufferPointer(rebasing: $0[readCount...])) }
      buffer = rest
      readCount = 0
    }
    return .bytes(size)
  }

  /// Takes all out, if nothing was read.
  package mutating func takeAll() -> ByteBuffer {
    kept.release()
    return buffer.takeAll()
  }
}
