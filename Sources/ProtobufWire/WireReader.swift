/// Reads numbers of the protobuf wire format from bytes that may continue later.
@usableFromInline package struct WireReader {
  @usableFromInline var cursor: UnsafePointer<UInt8>
  @usableFromInline let end: UnsafePointer<UInt8>
  @usableFromInline let isCut: Bool

  /// - Parameter isCut: Whether `end` is only the end of what has arrived, so that an incomplete number is not an
  ///   error.
  @inlinable @inline(__always)
  package init(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, isCut: Bool) {
    cursor = start
    self.end = end
    self.isCut = isCut
  }

  /// The position of the next number.
  @inlinable @inline(__always)
  package var at: UnsafePointer<UInt8> { cursor }

  /// A varint; nil if it is incomplete.
  @inlinable @inline(__always)
  package mutating func varint() throws(WireError) -> UInt64? {
    guard cursor < end else { return try incomplete() }
    let byte = cursor.pointee
    guard byte >= 0x80 else {
      cursor += 1
      return UInt64(byte)
    }
    var partial = PartialVarint()
    return try varint(resuming: &partial)
  }

  /// A varint of which some bytes may have been read before; nil if it is incomplete.
  ///
  /// - Parameter partial: the part that has been read; reset for the next varint once this one is complete.
  @inlinable
  package mutating func varint(resuming partial: inout PartialVarint) throws(WireError) -> UInt64? {
    while cursor < end {
      let isLast = try partial.take(cursor.pointee)
      cursor += 1
      if isLast {
        let value = partial.value
        partial = PartialVarint()
        return value
      }
    }
    return try incomplete()
  }

  /// The tag of a field; nil if it is incomplete.
  @inlinable @inline(__always)
  package mutating func tag() throws(WireError) -> WireTag? {
    guard let varint = try varint() else { return nil }
    return try WireTag(varint)
  }

  /// The bits of a number of one of the three numeric wire types; nil if it is incomplete.
  @inlinable @inline(__always)
  package mutating func number(_ wireType: WireType) throws(WireError) -> UInt64? {
    switch wireType {
    case .fixed32:
      guard end - cursor >= 4 else { return try incomplete() }
      let value = UnsafeRawPointer(cursor).loadUnaligned(as: UInt32.self)
      cursor += 4
      return UInt64(UInt32(littleEndian: value))
    case .fixed64:
      guard end - cursor >= 8 else { return try incomplete() }
      let value = UnsafeRawPointer(cursor).loadUnaligned(as: UInt64.self)
      cursor += 8
      return UInt64(littleEndian: value)
    default: return try varint()
    }
  }

  @inlinable @inline(__always)
  func incomplete() throws(WireError) -> UInt64? {
    guard isCut else { throw .overrun }
    return nil
  }
}
