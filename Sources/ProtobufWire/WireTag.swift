/// The encoding of a field's content (protobuf documentation, "Encoding", "Message Structure").
@usableFromInline package enum WireType: UInt8, BitwiseCopyable, Sendable {
  case varint = 0
  case fixed64 = 1
  case lengthDelimited = 2
  case startGroup = 3
  case endGroup = 4
  case fixed32 = 5
}

/// The tag before the content of a field.
@usableFromInline package struct WireTag {
  @usableFromInline package let number: UInt32
  @usableFromInline package let wireType: WireType

  /// - Parameter varint: the tag as a number.
  @inlinable @inline(__always)
  package init(_ varint: UInt64) throws(WireError) {
    let number = varint >> 3
    guard number > 0, number < 1 << 29, let wireType = WireType(rawValue: UInt8(truncatingIfNeeded: varint & 7)) else {
      throw .malformedTag
    }
    self.number = UInt32(truncatingIfNeeded: number)
    self.wireType = wireType
  }
}
