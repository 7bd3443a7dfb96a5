/// Base-128 varints of up to 64 bits (protobuf documentation, "Encoding", "Base 128 Varints"): seven bits in a byte,
/// the lowest first, and the eighth bit set in all bytes but the last.
@usableFromInline package enum Varint {
  /// How many bytes the longest one has.
  @inlinable @inline(__always)
  package static var maxCount: Int { 10 }

  /// How many bytes `value` takes.
  @inlinable @inline(__always)
  package static func count(of value: UInt64) -> Int { (max(1, 64 - value.leadingZeroBitCount) + 6) / 7 }

  /// Passes on the bytes of `value`.
  @inlinable @inline(__always)
  package static func encode(_ value: UInt64, _ put: (UInt8) -> Void) {
    var rest = value
    while rest >= 0x80 {
      put(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    put(UInt8(truncatingIfNeeded: rest))
  }

  /// Writes `value` and returns how many bytes it took; there must be room for ``maxCount``.
  @inlinable @inline(__always)
  package static func write(_ value: UInt64, to target: UnsafeMutablePointer<UInt8>) -> Int {
    var count = 0
    encode(value) {
      target[count] = $0
      count &+= 1
    }
    return count
  }
}

/// A varint that is being read, some bytes of which may be still to come.
@usableFromInline package struct PartialVarint {
  @usableFromInline package var value: UInt64
  @usableFromInline var shift: UInt64

  @inlinable @inline(__always)
  package init() {
    value = 0
    shift = 0
  }

  /// Takes the next byte.
  ///
  /// - Returns: whether it was the last one, so that `value` is complete.
  @inlinable @inline(__always)
  package mutating func take(_ byte: UInt8) throws(WireError) -> Bool {
    // The tenth byte has room for one bit, and is the last.
    guard shift < 63 || byte <= 1 else { throw .malformedVarint }
    value |= UInt64(byte & 0x7f) << shift
    shift += 7
    return byte < 0x80
  }
}
