/// Bytes that wait until somebody takes them. Empty, it has no memory of its own.
struct ByteQueue {
  private var bytes: [UInt8] = []
  private var takenCount = 0

  var count: Int { bytes.count - takenCount }
  var isEmpty: Bool { bytes.isEmpty }

  /// Waits with `more`, too.
  mutating func append(_ more: UnsafeRawBufferPointer) {
    if !more.isEmpty { bytes.append(contentsOf: more) }
  }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[takenCount...])) }
  }

  /// Lets go of the first `count` bytes.
  mutating func drop(_ count: Int) {
    takenCount += count
    if takenCount >= bytes.count { self = ByteQueue() }
  }
}
