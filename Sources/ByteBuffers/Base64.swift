/// Base64 (RFC 4648), from memory to memory.
@usableFromInline package enum Base64 {
  /// How many characters `count` bytes take, with padding.
  @inlinable @inline(__always)
  package static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

  /// Writes `count` bytes in the standard alphabet, padded, as `encodedCount(count)` characters.
  package static func encode(_ source: UnsafePointer<UInt8>, _ count: Int, to target: UnsafeMutablePointer<UInt8>) {
    let alphabet = standardAlphabet.utf8Start
    @inline(__always) func character(_ bits: UInt64, _ shift: UInt64) -> UInt64 {
      UInt64(alphabet[Int(truncatingIfNeeded: (bits &>> shift) & 0x3f)])
    }
    var from = UnsafeRawPointer(source)
    var to = UnsafeMutableRawPointer(target)
    var left = count
    // Six bytes at a time, read as eight of which the last two are not used, and written as one word.
    while left >= 8 {
      let bits = UInt64(bigEndian: from.loadUnaligned(as: UInt64.self))
      let low = character(bits, 58) | character(bits, 52) << 8 | character(bits, 46) << 16 | character(bits, 40) << 24
      let high = character(bits, 34) | character(bits, 28) << 8 | character(bits, 22) << 16 | character(bits, 16) << 24
      to.storeBytes(of: (low | high << 32).littleEndian, as: UInt64.self)
      from += 6
      to += 8
      left -= 6
    }
    while left > 0 {
      let bytes = from.assumingMemoryBound(to: UInt8.self)
      let bits =
        UInt64(bytes[0]) << 16 | (left > 1 ? UInt64(bytes[1]) << 8 : 0) | (left > 2 ? UInt64(bytes[2]) : 0)
      let padding = UInt64(UInt8(ascii: "="))
      let low = character(bits, 18) | character(bits, 12) << 8
      let high = (left > 1 ? character(bits, 6) : padding) << 16 | (left > 2 ? character(bits, 0) : padding) << 24
      to.storeBytes(of: UInt32(truncatingIfNeeded: low | high).littleEndian, as: UInt32.self)
      from += 3
      to += 4
      left -= 3
    }
  }

  /// How many bytes a valid text decodes to, and how many of its characters are not padding; nil if no valid text has
  /// this length and padding. Padding may be present or absent; bits beyond the last byte are ignored.
  @inlinable @inline(__always)
  package static func shape(_ text: UnsafePointer<UInt8>, _ count: Int) -> (decoded: Int, characters: Int)? {
    var characters = count
    if count & 3 == 0 && count > 0 && text[count - 1] == UInt8(ascii: "=") {
      characters -= text[count - 2] == UInt8(ascii: "=") ? 2 : 1
    }
    guard characters & 3 != 1 else { return nil }
    return (characters &>> 2 &* 3 &+ (characters & 3 == 0 ? 0 : characters & 3 &- 1), characters)
  }

  /// Decodes `count` characters of either alphabet, without padding; false if any character is in neither. Writes
  /// nothing beyond the decoded bytes, and overwrites only bytes that it has read: the target may be the source.
  package static func decode(_ source: UnsafePointer<UInt8>, _ count: Int, to target: UnsafeMutablePointer<UInt8>)
    -> Bool
  {
    let values = Self.values
    @inline(__always) func value(_ character: UInt8) -> UInt32 { UInt32(values[Int(character)]) }
    @inline(__always) func sextet(_ value: UInt32, _ shift: UInt32) -> UInt32 { (value & 0x3f) << shift }
    var from = source
    var to = target
    var left = count
    var marks: UInt32 = 0
    // The marks above the six bits accumulate, so one test at the end is enough.
    while left >= 4 {
      let (a, b, c, d) = (value(from[0]), value(from[1]), value(from[2]), value(from[3]))
      marks |= a | b | c | d
      let bits = sextet(a, 18) | sextet(b, 12) | sextet(c, 6) | sextet(d, 0)
      to[0] = UInt8(truncatingIfNeeded: bits >> 16)
      to[1] = UInt8(truncatingIfNeeded: bits >> 8)
      to[2] = UInt8(truncatingIfNeeded: bits)
      from += 4
      to += 3
      left -= 4
    }
    if left > 1 {
      let (a, b, c) = (value(from[0]), value(from[1]), left > 2 ? value(from[2]) : 0)
      marks |= a | b | c
      let bits = sextet(a, 18) | sextet(b, 12) | sextet(c, 6)
      to[0] = UInt8(truncatingIfNeeded: bits >> 16)
      if left > 2 { to[1] = UInt8(truncatingIfNeeded: bits >> 8) }
    }
    return marks & Self.invalid != Self.invalid
  }

  /// Decodes `text`, of either alphabet, with or without padding.
  ///
  /// - Returns: how many bytes were written; nil if `text` is not base64 or `target` is too small for the result.
  package static func decode(_ text: UnsafeBufferPointer<UInt8>, into target: UnsafeMutableRawBufferPointer) -> Int? {
    guard let source = text.baseAddress, let bytes = target.baseAddress, let shape = shape(source, text.count),
      shape.decoded <= target.count,
      decode(source, shape.characters, to: bytes.assumingMemoryBound(to: UInt8.self))
    else { return nil }
    return shape.decoded
  }

  /// `bytes` as text in the URL alphabet, without padding (RFC 4648, section 5).
  package static func urlText(_ bytes: [UInt8]) -> String {
    String(unsafeUninitializedCapacity: encodedCount(bytes.count)) { text in
      guard let target = text.baseAddress else { return 0 }
      bytes.withUnsafeBufferPointer { source in
        if let start = source.baseAddress { encode(start, bytes.count, to: target) }
      }
      let count = (bytes.count * 4 + 2) / 3
      for index in 0..<count {
        switch target[index] {
        case UInt8(ascii: "+"): target[index] = UInt8(ascii: "-")
        case UInt8(ascii: "/"): target[index] = UInt8(ascii: "_")
        default: break
        }
      }
      return count
    }
  }

  private static let standardAlphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  private static let urlAlphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

  /// The mark of a character that is in neither alphabet: the marks of both together.
  private static let invalid: UInt32 = 0xc0

  /// The six bits of a character, with a mark above them if it is in one alphabet only: a text with characters of both
  /// is invalid. Written once, never freed.
  private nonisolated(unsafe) static let values: UnsafePointer<UInt8> = {
    let values = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
    values.initialize(repeating: UInt8(invalid), count: 256)
    for (alphabet, mark) in [(standardAlphabet, UInt8(0x40)), (urlAlphabet, UInt8(0x80))] {
      for value in 0..<64 { values[Int(alphabet.utf8Start[value])] = UInt8(value) | (value < 62 ? 0 : mark) }
    }
    return UnsafePointer(values)
  }()
}
