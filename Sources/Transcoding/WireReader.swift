/// Reads numbers of the protobuf wire format from bytes of which there may be more later.
struct WireReader {
  private(set) var at: UnsafePointer<UInt8>
  private let end: UnsafePointer<UInt8>
  private let offset: Int
  private let isCut: Bool

  /// - Parameters:
  ///   - offset: The position of `start` in the message, for faults.
  ///   - isCut: Whether what ends at `end` is only what has arrived, so that an incomplete number is not an error.
  @inline(__always)
  init(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>, _ offset: Int, isCut: Bool) {
    at = start
    self.end = end
    self.offset = offset
    self.isCut = isCut
  }

  /// A base-128 varint of at most 64 bits; nil if it is not complete yet.
  @inline(__always)
  mutating func varint() throws(Fault) -> UInt64? {
    guard at < end else { return try incomplete() }
    let byte = at.pointee
    guard byte >= 0x80 else {
      at += 1
      return UInt64(byte)
    }
    return try longVarint()
  }

  private mutating func longVarint() throws(Fault) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while at < end {
      let byte = at.pointee
      // The tenth byte has room for one bit, and is the last.
      guard shift < 63 || byte <= 1 else { throw Fault(reason: .malformedVarint, offset: offset) }
      at += 1
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return try incomplete()
  }

  /// The bits of a number of one of the three wire types that have numbers; nil if it is not complete yet.
  @inline(__always)
  mutating func number(_ wireType: WireType) throws(Fault) -> UInt64? {
    switch wireType {
    case .fixed32:
      guard end - at >= 4 else { return try incomplete() }
      let value = UnsafeRawPointer(at).loadUnaligned(as: UInt32.self)
      at += 4
      return UInt64(UInt32(littleEndian: value))
    case .fixed64:
      guard end - at >= 8 else { return try incomplete() }
      let value = UnsafeRawPointer(at).loadUnaligned(as: UInt64.self)
      at += 8
      return UInt64(littleEndian: value)
    default: return try varint()
    }
  }

  private func incomplete() throws(Fault) -> UInt64? {
    guard isCut else { throw Fault(reason: .overrun, offset: offset) }
    return nil
  }
}
