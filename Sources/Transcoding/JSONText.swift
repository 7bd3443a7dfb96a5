import ByteBuffers

/// The inside of a JSON string that `JSONReader` has checked.
struct JSONText {
  let start: UnsafePointer<UInt8>
  /// Its length in bytes, as it is in the input.
  let count: Int
  let hasEscapes: Bool

  /// For error messages: its text, cut if it is long.
  var excerpt: String {
    let limit = 64
    let text = String(decoding: UnsafeBufferPointer(start: start, count: min(count, limit)), as: UTF8.self)
    return count > limit ? text + "…" : text
  }

  /// Writes its unescaped text to `target`, at most `count` bytes, and returns how many.
  func unescape(to target: UnsafeMutablePointer<UInt8>) -> Int {
    let end = start + count
    var from = start
    var to = target
    while from < end {
      let byte = from.pointee
      guard byte == UInt8(ascii: "\\") else {
        to.pointee = byte
        to += 1
        from += 1
        continue
      }
      let escape = from[1]
      from += 2
      switch escape {
      case UInt8(ascii: "b"): to.pointee = 0x08
      case UInt8(ascii: "f"): to.pointee = 0x0c
      case UInt8(ascii: "n"): to.pointee = 0x0a
      case UInt8(ascii: "r"): to.pointee = 0x0d
      case UInt8(ascii: "t"): to.pointee = 0x09
      case UInt8(ascii: "u"):
        var scalar = Self.hexUnit(from)
        from += 4
        if scalar & 0xfc00 == 0xd800 {
          // The reader has checked the other half.
          scalar = 0x10000 + (scalar & 0x3ff) << 10 + Self.hexUnit(from + 2) & 0x3ff
          from += 6
        }
        to += UTF8Sequence.write(scalar, to: to)
        continue
      default: to.pointee = escape
      }
      to += 1
    }
    return to - target
  }

  static func isHexDigit(_ character: UInt8) -> Bool {
    character &- 0x30 < 10 || character | 0x20 &- UInt8(ascii: "a") < 6
  }

  /// The value of four hexadecimal digits.
  static func hexUnit(_ digits: UnsafePointer<UInt8>) -> UInt32 {
    (0..<4).reduce(0) { unit, index in
      let digit = digits[index]
      // For letters, nine has to be added to the low four bits.
      return unit << 4 | UInt32(digit & 0x0f) + (digit > 0x39 ? 9 : 0)
    }
  }
}
