/// Reads the length-prefixed messages of a gRPC response from bytes that come in pieces (gRPC over HTTP/2,
/// "Length-Prefixed-Message"). A pure state machine for a unary response: at most one message.
struct FrameReader {
  enum Event {
    case begin(length: Int)
    case bytes(UnsafeRawBufferPointer)
    case violation(String)
  }

  private var prefix: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
  private var prefixCount = 0
  private var missing = 0

  var hasBegun: Bool { prefixCount == 5 }
  var isComplete: Bool { hasBegun && missing == 0 }

  /// Takes `input` and reports what is in it.
  mutating func read(_ input: UnsafeRawBufferPointer, _ report: (Event) -> Void) {
    var input = input
    while prefixCount < 5, let byte = input.first {
      withUnsafeMutableBytes(of: &prefix) { $0[prefixCount] = byte }
      prefixCount += 1
      input = UnsafeRawBufferPointer(rebasing: input.dropFirst())
      guard prefixCount == 5 else { continue }
      guard prefix.0 == 0 else { return report(.violation("a compressed message, though none was asked for")) }
      missing = withUnsafeBytes(of: prefix) { Int($0.loadUnaligned(fromByteOffset: 1, as: UInt32.self).bigEndian) }
      report(.begin(length: missing))
    }
    guard !input.isEmpty else { return }
    guard input.count <= missing else {
      return report(.violation("more than one message in the answer to a unary call"))
    }
    missing -= input.count
    report(.bytes(input))
  }
}
