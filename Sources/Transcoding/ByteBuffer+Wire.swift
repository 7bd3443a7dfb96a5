/// The pieces of protobuf messages (protobuf documentation, "Encoding"), for the few that are written by hand.
extension ByteBuffer {
  /// How many bytes a varint takes.
  private static func count(ofVarint value: UInt64) -> Int { (max(1, 64 - value.leadingZeroBitCount) + 6) / 7 }

  /// How many bytes a field of `count` bytes takes, with its tag and length.
  package static func wireCount(ofField count: Int) -> Int { 1 + self.count(ofVarint: UInt64(count)) + count }

  /// How many bytes a number takes as a field; none where it is zero.
  package static func wireCount(ofNumber value: Int64) -> Int {
    value == 0 ? 0 : 1 + count(ofVarint: UInt64(bitPattern: value))
  }

  /// Appends a varint.
  package mutating func append(varint value: UInt64) {
    var value = value
    while value >= 0x80 {
      append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    append(UInt8(truncatingIfNeeded: value))
  }

  /// Appends a number or enum, unless it is zero.
  ///
  /// - Parameter number: the number of the field, up to 15.
  package mutating func append(field number: UInt8, _ value: Int64) {
    guard value != 0 else { return }
    append(number << 3)
    append(varint: UInt64(bitPattern: value))
  }

  /// Appends a bool, unless it is false.
  package mutating func append(field number: UInt8, _ value: Bool) { append(field: number, value ? 1 : 0) }

  /// Appends the beginning of a field of `count` bytes, which are to follow.
  package mutating func append(field number: UInt8, ofCount count: Int) {
    append(number << 3 | 2)
    append(varint: UInt64(count))
  }

  /// Appends a field of bytes.
  package mutating func append(field number: UInt8, _ bytes: UnsafeRawBufferPointer) {
    append(field: number, ofCount: bytes.count)
    append(bytes)
  }

  /// Appends a field of bytes.
  package mutating func append(field number: UInt8, _ bytes: some RandomAccessCollection<UInt8>) {
    append(field: number, ofCount: bytes.count)
    append(bytes)
  }
}
