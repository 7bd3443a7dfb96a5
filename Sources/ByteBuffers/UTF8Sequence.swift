/// One character beyond ASCII in UTF-8 (RFC 3629, section 4).
@usableFromInline package enum UTF8Sequence {
  /// The bytes are a well-formed character of so many bytes.
  case character(Int)
  /// The bytes are the beginning of a character, and the rest is missing.
  case incomplete
  case malformed

  /// Checks the character that begins at `start`, whose first byte is not ASCII.
  @inlinable
  package static func at(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> UTF8Sequence {
    let lead = start[0]
    let count: Int
    // The range of the second byte excludes overlong forms, surrogates and what is beyond U+10FFFF.
    var second: ClosedRange<UInt8> = 0x80...0xbf
    switch lead {
    case 0xc2...0xdf: count = 2
    case 0xe0: (count, second) = (3, 0xa0...0xbf)
    case 0xed: (count, second) = (3, 0x80...0x9f)
    case 0xe1...0xef: count = 3
    case 0xf0: (count, second) = (4, 0x90...0xbf)
    case 0xf4: (count, second) = (4, 0x80...0x8f)
    case 0xf1...0xf3: count = 4
    default: return .malformed
    }
    let available = min(count, end - start)
    if available > 1 && !second.contains(start[1]) { return .malformed }
    if available > 2 && start[2] & 0xc0 != 0x80 { return .malformed }
    if available > 3 && start[3] & 0xc0 != 0x80 { return .malformed }
    return available == count ? .character(count) : .incomplete
  }

  /// Writes a scalar value, at most four bytes; returns how many.
  @inlinable @inline(__always)
  package static func write(_ scalar: UInt32, to target: UnsafeMutablePointer<UInt8>) -> Int {
    func byte(_ lead: UInt32, _ shift: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: lead | (scalar >> shift)) }
    func tail(_ shift: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: 0x80 | (scalar >> shift) & 0x3f) }
    switch scalar {
    case 0..<0x80:
      target[0] = byte(0, 0)
      return 1
    case 0x80..<0x800:
      target[0] = byte(0xc0, 6)
      target[1] = tail(0)
      return 2
    case 0x800..<0x10000:
      target[0] = byte(0xe0, 12)
      target[1] = tail(6)
      target[2] = tail(0)
      return 3
    default:
      target[0] = byte(0xf0, 18)
      target[1] = tail(12)
      target[2] = tail(6)
      target[3] = tail(0)
      return 4
    }
  }
}
