public import ByteBuffers

/// A target for messages that are written field after field (protobuf documentation, "Encoding"): ``ByteBuffer``, or an
/// array if the bytes are kept and compared.
@usableFromInline package protocol WireOutput: ~Copyable {
  mutating func append(_ byte: UInt8)
  mutating func append(_ bytes: UnsafeRawBufferPointer)
  mutating func append(_ bytes: some Collection<UInt8>)
  mutating func append(varint value: UInt64)
}

extension ByteBuffer: WireOutput {
  @inlinable
  package mutating func append(varint value: UInt64) {
    commit(Varint.write(value, to: reserve(Varint.maxCount)))
  }
}

extension [UInt8]: WireOutput {
  @inlinable
  package mutating func append(_ bytes: UnsafeRawBufferPointer) { append(contentsOf: bytes) }

  @inlinable
  package mutating func append(_ bytes: some Collection<UInt8>) { append(contentsOf: bytes) }

  @inlinable
  package mutating func append(varint value: UInt64) { Varint.encode(value) { append($0) } }
}

extension WireOutput where Self: ~Copyable {
  /// How many bytes a field of `count` bytes takes, with its tag and length.
  @inlinable
  package static func wireCount(ofField count: Int) -> Int { 1 + Varint.count(of: UInt64(count)) + count }

  /// How many bytes a number takes as a field; none if it is zero.
  @inlinable
  package static func wireCount(ofNumber value: Int64) -> Int {
    value == 0 ? 0 : 1 + Varint.count(of: UInt64(bitPattern: value))
  }

  /// Appends a number or enum, unless it is zero.
  ///
  /// - Parameter number: the number of the field, up to 15.
  @inlinable
  package mutating func append(field number: Int, _ value: Int64) {
    guard value != 0 else { return }
    append(field: number, zeroOr: value)
  }

  /// Appends a number or enum even if it is zero, as for members of oneofs.
  @inlinable
  package mutating func append(field number: Int, zeroOr value: Int64) {
    append(UInt8(truncatingIfNeeded: number << 3) | WireType.varint.rawValue)
    append(varint: UInt64(bitPattern: value))
  }

  /// Appends a bool, unless it is false.
  @inlinable
  package mutating func append(field number: Int, _ value: Bool) { append(field: number, value ? 1 : 0) }

  /// Appends the beginning of a field of `count` bytes, which are to follow.
  @inlinable
  package mutating func append(field number: Int, ofCount count: Int) {
    append(UInt8(truncatingIfNeeded: number << 3) | WireType.lengthDelimited.rawValue)
    append(varint: UInt64(count))
  }

  /// Appends a field of bytes.
  @inlinable
  package mutating func append(field number: Int, _ bytes: UnsafeRawBufferPointer) {
    append(field: number, ofCount: bytes.count)
    append(bytes)
  }

  /// Appends a field of bytes.
  @inlinable
  package mutating func append(field number: Int, _ bytes: some RandomAccessCollection<UInt8>) {
    append(field: number, ofCount: bytes.count)
    append(bytes)
  }
}
