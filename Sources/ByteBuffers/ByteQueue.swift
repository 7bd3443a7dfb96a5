/// Bytes that wait until they are taken.
@usableFromInline package struct ByteQueue {
  /// A queue that is never empty releases the memory of bytes taken from its front once these are so many.
  @usableFromInline static let maxTaken = 65_536

  @usableFromInline var bytes: [UInt8] = []
  @usableFromInline var takenCount = 0
  /// Whether an empty queue keeps the memory that it had.
  @usableFromInline let keepsMemory: Bool

  /// - Parameter keepsMemory: whether an empty queue keeps its memory, for queues that are filled again at once;
  ///   otherwise it has none.
  @inlinable
  package init(keepsMemory: Bool = false) { self.keepsMemory = keepsMemory }

  @inlinable
  package var count: Int { bytes.count - takenCount }
  @inlinable
  package var isEmpty: Bool { bytes.isEmpty }

  /// Adds `more` at the end.
  @inlinable
  package mutating func append(_ more: UnsafeRawBufferPointer) {
    if !more.isEmpty { bytes.append(contentsOf: more) }
  }

  @inlinable
  package func withUnsafeBytes<Result, Fault: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Fault) -> Result
  ) throws(Fault) -> Result {
    try bytes.withUnsafeBufferPointer { bytes throws(Fault) in
      try body(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[takenCount...])))
    }
  }

  /// Removes the first `count` bytes.
  @inlinable
  package mutating func drop(_ count: Int) {
    takenCount += count
    if takenCount >= bytes.count {
      if keepsMemory { bytes.removeAll(keepingCapacity: true) } else { bytes = [] }
      takenCount = 0
    } else if takenCount >= Self.maxTaken {
      bytes.removeSubrange(..<takenCount)
      takenCount = 0
    }
  }
}
