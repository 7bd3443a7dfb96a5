/// Reads the length-prefixed messages of a gRPC response from bytes that come in pieces (gRPC over HTTP/2,
/// "Length-Prefixed-Message"). A pure state machine, which gives one event at a time. So the receiver of an event may
/// do anything with the call before it asks for the next one.
struct FrameReader {
  enum Event {
    case begin(length: Int)
    case bytes(UnsafeRawBufferPointer)
    case end
    case violation(String)
  }

  /// Whether any number of messages may come, as in a stream. If not, one is the limit.
  private let takesMany: Bool
  private var prefix: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
  private var prefixCount = 0
  private var missing = 0
  private var isInMessage = false
  /// Whether any message has begun.
  private(set) var hasBegun = false

  init(takesMany: Bool) { self.takesMany = takesMany }

  /// Whether the response may end here: after a whole message or, in a stream, also before the first.
  var isComplete: Bool { !isInMessage && prefixCount == 0 && (hasBegun || takesMany) }

  /// Takes the next event out of `input`; nil if more bytes are needed. To be called until it returns nil, as the end
  /// of a message is an event of its own. Not to be called after a violation.
  mutating func next(_ input: inout UnsafeRawBufferPointer) -> Event? {
    if isInMessage {
      guard missing > 0 else {
        isInMessage = false
        prefixCount = 0
        return .end
      }
      guard !input.isEmpty else { return nil }
      let bytes = UnsafeRawBufferPointer(rebasing: input.prefix(missing))
      input = UnsafeRawBufferPointer(rebasing: input.dropFirst(bytes.count))
      missing -= bytes.count
      return .bytes(bytes)
    }
    guard !input.isEmpty else { return nil }
    guard takesMany || !hasBegun else { return .violation("more than one message in the answer to a unary call") }
    while prefixCount < 5, let byte = input.first {
      withUnsafeMutableBytes(of: &prefix) { $0[prefixCount] = byte }
      prefixCount += 1
      input = UnsafeRawBufferPointer(rebasing: input.dropFirst())
    }
    guard prefixCount == 5 else { return nil }
    guard prefix.0 == 0 else { return .violation("a compressed message, which was not requested") }
    missing = withUnsafeBytes(of: prefix) { Int($0.loadUnaligned(fromByteOffset: 1, as: UInt32.self).bigEndian) }
    isInMessage = true
    hasBegun = true
    return .begin(length: missing)
  }
}
