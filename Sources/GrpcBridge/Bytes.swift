/// A key, a value, or any other sequence of bytes that etcd does not interpret.
///
/// String literals, interpolated ones too, stand for their UTF-8: `client.put("users/\(id)", "Ann")`.
public struct Bytes: Sendable, Hashable {
  public var array: [UInt8]

  /// Takes bytes as they are.
  public init(_ bytes: some Sequence<UInt8>) { array = Array(bytes) }

  /// Takes the UTF-8 of a text.
  public init(_ text: some StringProtocol) { array = Array(text.utf8) }

  /// The bytes as text; nil if they are not UTF-8.
  public var string: String? { String(validating: array, as: UTF8.self) }
}

extension Bytes: ExpressibleByStringInterpolation {
  public init(stringLiteral text: String) { self.init(text) }
}

extension Bytes: ExpressibleByArrayLiteral {
  public init(arrayLiteral bytes: UInt8...) { array = bytes }
}

extension Bytes: RandomAccessCollection, MutableCollection {
  public var startIndex: Int { array.startIndex }
  public var endIndex: Int { array.endIndex }

  public subscript(index: Int) -> UInt8 {
    get { array[index] }
    set { array[index] = newValue }
  }

  // Copies into an array or `Data` are made as a whole, not byte by byte.

  public func withContiguousStorageIfAvailable<Result>(
    _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
  ) rethrows -> Result? {
    try array.withContiguousStorageIfAvailable(body)
  }

  public mutating func withContiguousMutableStorageIfAvailable<Result>(
    _ body: (inout UnsafeMutableBufferPointer<UInt8>) throws -> Result
  ) rethrows -> Result? {
    try array.withContiguousMutableStorageIfAvailable(body)
  }
}

extension Bytes: Comparable {
  /// etcd's order of keys: byte by byte.
  public static func < (left: Bytes, right: Bytes) -> Bool { left.array.lexicographicallyPrecedes(right.array) }
}

extension Bytes: CustomStringConvertible {
  /// The bytes as text, with U+FFFD in place of invalid UTF-8.
  public var description: String { String(decoding: array, as: UTF8.self) }
}
