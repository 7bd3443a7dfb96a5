/// Integers as decimal text.
enum IntegerText {
  /// The most digits of a 64-bit integer, and its sign.
  static let maximumCount = 20

  private static let pairs: StaticString = """
    00010203040506070809101112131415161718192021222324252627282930313233343536373839\
    40414243444546474849505152535455565758596061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899
    """

  /// Writes `value`, without a terminator, to at most `maximumCount` bytes; returns how many bytes it took.
  @inline(__always)
  static func write(_ value: UInt64, to target: UnsafeMutablePointer<UInt8>) -> Int {
    let count = digits(value)
    let pairs = Self.pairs.utf8Start
    var rest = value
    var at = target + count
    while rest >= 100 {
      let (quotient, pair) = rest.quotientAndRemainder(dividingBy: 100)
      at -= 2
      at[0] = pairs[2 &* Int(pair)]
      at[1] = pairs[2 &* Int(pair) &+ 1]
      rest = quotient
    }
    if rest >= 10 {
      target[0] = pairs[2 &* Int(rest)]
      target[1] = pairs[2 &* Int(rest) &+ 1]
    } else {
      target[0] = 0x30 | UInt8(truncatingIfNeeded: rest)
    }
    return count
  }

  /// Writes `value` with a minus sign if it is negative.
  @inline(__always)
  static func write(_ value: Int64, to target: UnsafeMutablePointer<UInt8>) -> Int {
    guard value < 0 else { return write(UInt64(bitPattern: value), to: target) }
    target[0] = UInt8(ascii: "-")
    return 1 + write(value.magnitude, to: target + 1)
  }

  @inline(__always)
  private static func digits(_ value: UInt64) -> Int {
    var count = 1
    var rest = value
    while rest >= 10_000 {
      rest /= 10_000
      count &+= 4
    }
    return rest < 10 ? count : rest < 100 ? count &+ 1 : rest < 1000 ? count &+ 2 : count &+ 3
  }
}

/// The value of a JSON number that is an integer, as `1e2` and `1.0` are.
struct DecimalInteger {
  let isNegative: Bool
  let magnitude: UInt64

  /// The value, if it is within the range of the type.
  @inline(__always)
  func exactly<T: FixedWidthInteger>(_: T.Type = T.self) -> T? {
    guard isNegative else { return T(exactly: magnitude) }
    guard magnitude <= 1 << 63 else { return nil }
    return T(exactly: 0 &- Int64(truncatingIfNeeded: magnitude))
  }
}

extension DecimalInteger {
  /// The digits `whole` and `fraction` shifted by ten to the power of `exponent`; nil if that is not an integer or does
  /// not fit into 64 bits. Takes time linear in the number of digits, whatever the exponent.
  init?(isNegative: Bool, whole: UnsafeBufferPointer<UInt8>, fraction: UnsafeBufferPointer<UInt8>, exponent: Int) {
    // After the shift the decimal point comes after the first `places` digits.
    let places = whole.count + exponent
    var magnitude: UInt64 = 0
    var position = 0

    func append(_ digit: UInt64) -> Bool {
      let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(digit)
      magnitude = sum
      position += 1
      return !overflow && !carry
    }
    func append(_ digits: UnsafeBufferPointer<UInt8>) -> Bool {
      digits.allSatisfy { character in
        let digit = UInt64(character & 0x0f)
        return position < places ? append(digit) : digit == 0
      }
    }

    guard append(whole), append(fraction) else { return nil }
    while position < places && magnitude != 0 {
      guard append(0) else { return nil }
    }
    self.init(isNegative: isNegative, magnitude: magnitude)
  }
}
