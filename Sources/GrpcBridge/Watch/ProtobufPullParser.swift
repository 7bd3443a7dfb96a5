/// Steps through the fields of a protobuf message that is whole in memory (protobuf documentation, "Encoding").
///
/// For the few messages that the bridge has to look into on their way: nothing is copied, and what it does not know is
/// stepped over.
struct ProtobufPullParser {
  /// One field, as it stands in the message.
  struct Field {
    let number: Int
    /// The value of a varint field.
    let value: UInt64
    /// Where the content of a length-delimited field lies.
    let content: Range<Int>
    /// Where the whole field lies, its tag included.
    let whole: Range<Int>
  }

  /// The bytes are not a protobuf message.
  struct Malformed: Error {}

  private let bytes: UnsafeRawBufferPointer
  private var at: Int
  private let end: Int

  /// - Parameter range: where in `bytes` the message lies.
  init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) {
    self.bytes = bytes
    at = range.lowerBound
    end = range.upperBound
  }

  /// The next field; nil at the end of the message.
  mutating func next() throws(Malformed) -> Field? {
    guard at < end else { return nil }
    let start = at
    let tag = try varint()
    var value: UInt64 = 0
    var content = at..<at
    switch tag & 7 {
    case 0: value = try varint()
    case 1: try skip(8)
    case 2:
      let count = try varint()
      guard count <= UInt64(end - at) else { throw Malformed() }
      content = at..<at + Int(count)
      at = content.upperBound
    case 5: try skip(4)
    default: throw Malformed()
    }
    return Field(number: Int(tag >> 3), value: value, content: content, whole: start..<at)
  }

  private mutating func skip(_ count: Int) throws(Malformed) {
    guard end - at >= count else { throw Malformed() }
    at += count
  }

  private mutating func varint() throws(Malformed) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while at < end, shift < 64 {
      let byte = bytes[at]
      at += 1
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    throw Malformed()
  }
}

extension [UInt8] {
  /// Appends a varint (protobuf documentation, "Encoding").
  mutating func append(varint value: UInt64) {
    var value = value
    while value >= 0x80 {
      append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    append(UInt8(value))
  }

  /// Appends a varint field unless it has its default.
  mutating func append(field number: UInt8, varint value: UInt64) {
    guard value != 0 else { return }
    append(number << 3)
    append(varint: value)
  }
}
