/// The ID of a distributed trace: 128 bits, not all of them zero (W3C Trace Context, section 3.2.2.3).
package struct TraceID: Hashable, Sendable {
  let high: UInt64
  package let low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// 32 hexadecimal digits.
  package var text: String {
    String(unsafeUninitializedCapacity: 32) { digits in
      guard let start = digits.baseAddress else { return 0 }
      HexDigits.write(high, to: start)
      HexDigits.write(low, to: start + 16)
      return 32
    }
  }
}

/// Numbers as lower-case hexadecimal digits, with leading zeros.
package enum HexDigits {
  private static let digits: StaticString = "0123456789abcdef"

  /// Writes 16 digits.
  package static func write(_ value: UInt64, to target: UnsafeMutablePointer<UInt8>) {
    for index in 0..<16 {
      target[index] = digits.utf8Start[Int(truncatingIfNeeded: value >> UInt64(60 - index * 4)) & 15]
    }
  }

  /// The value of up to 16 lower-case digits; nil if there is any other character.
  static func value(of digits: some Collection<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for character in digits {
      guard let digit = digit(character) else { return nil }
      value = value << 4 | UInt64(digit)
    }
    return value
  }

  static func digit(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
