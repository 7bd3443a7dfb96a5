/// Steps through the fields of a protobuf message that is whole in memory (protobuf documentation, "Encoding").
///
/// For the few messages that are inspected on their way: nothing is copied, and unknown fields are skipped.
@usableFromInline package struct ProtobufPullParser {
  /// One field of the message.
  @usableFromInline package struct Field {
    @usableFromInline package let number: Int
    @usableFromInline package let wireType: WireType
    /// The value of a varint field.
    @usableFromInline package let value: UInt64
    /// The range of the content of a length-delimited field.
    @usableFromInline package let content: Range<Int>
    /// The range of the whole field, including its tag.
    @usableFromInline package let whole: Range<Int>

    @inlinable @inline(__always)
    init(number: Int, wireType: WireType, value: UInt64, content: Range<Int>, whole: Range<Int>) {
      self.number = number
      self.wireType = wireType
      self.value = value
      self.content = content
      self.whole = whole
    }
  }

  @usableFromInline let bytes: UnsafeRawBufferPointer
  @usableFromInline var at: Int
  @usableFromInline let end: Int

  /// - Parameter range: the range of the message in `bytes`.
  @inlinable
  package init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
    self.bytes = bytes
    at = range.lowerBound
    end = range.upperBound
  }

  /// The next field; nil at the end of the message.
  ///
  /// - Throws: ``WireError`` if the bytes are malformed, or for a group, which proto3 messages do not have.
  @inlinable
  package mutating func next() throws(WireError) -> Field? {
    guard at < end, let base = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
    let start = at
    var input = WireReader(base + start, base + end, isCut: false)
    guard let tag = try input.tag() else { throw .overrun }
    var value: UInt64 = 0
    var content = start..<start
    switch tag.wireType {
    case .varint:
      guard let number = try input.varint() else { throw .overrun }
      value = number
      at = input.at - base
    case .fixed32, .fixed64:
      _ = try input.number(tag.wireType)
      at = input.at - base
    case .lengthDelimited:
      guard let count = try input.varint() else { throw .overrun }
      let contentStart = input.at - base
      guard count <= UInt64(end - contentStart) else { throw .overrun }
      content = contentStart..<contentStart + Int(count)
      at = content.upperBound
    case .startGroup, .endGroup: throw .malformedTag
    }
    return Field(number: Int(tag.number), wireType: tag.wireType, value: value, content: content, whole: start..<at)
  }
}
