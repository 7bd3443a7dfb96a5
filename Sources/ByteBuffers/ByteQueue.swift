/// Bytes that wait until somebody takes them.
package struct ByteQueue {
  /// With so many bytes taken from its front a queue that is never empty lets go of their memory.
  private static let maxTaken = 65_536

  private var bytes: [UInt8] = []
  private var takenCount = 0
  /// Whether an empty queue keeps the memory that it had.
  private let keepsMemory: Bool

  /// - Parameter keepsMemory: whether an empty queue keeps the memory that it had, for those that are filled again at
  ///   once; else it has none of its own.
  package init(keepsMemory: Bool = false) { self.keepsMemory = keepsMemory }

  package var count: Int { bytes.count - takenCount }
  package var isEmpty: Bool { bytes.isEmpty }

  /// Waits with `more`, too.
  package mutating func append(_ more: UnsafeRawBufferPointer) {
    if !more.isEmpty { bytes.append(contentsOf: more) }
  }

  package func withUnsafeBytes<Result, Fault: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Fault) -> Result
  ) throws(Fault) -> Result {
    try bytes.withUnsafeBufferPointer { bytes throws(Fault) in
      try body(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[takenCount...])))
    }
  }

  /// Lets go of the first `count` bytes.
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
