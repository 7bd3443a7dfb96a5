/// Remembers which reads had large answers the last time, by their requests. If one is forgotten to make room for
/// another, it is noticed again when its next answer is large. A pure structure.
struct LargeReads {
  private static let capacity = 1024

  private var hashes: Set<UInt> = []

  /// The hash of a request, which differs from process to process.
  static func hash(of request: UnsafeRawBufferPointer) -> UInt {
    var hasher = Hasher()
    hasher.combine(bytes: request)
    return UInt(bitPattern: hasher.finalize())
  }

  func contains(_ hash: UInt) -> Bool { !hashes.isEmpty && hashes.contains(hash) }

  mutating func insert(_ hash: UInt) {
    if hashes.count >= Self.capacity, let victim = hashes.first { hashes.remove(victim) }
    hashes.insert(hash)
  }

  mutating func remove(_ hash: UInt) { hashes.remove(hash) }
}
