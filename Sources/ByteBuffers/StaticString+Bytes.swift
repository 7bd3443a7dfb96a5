public import Glibc

extension StaticString {
  @inlinable package var bytes: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount)
  }
  @inlinable package var cString: UnsafePointer<CChar> {
    UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self)
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// Whether the bytes are those of `text`.
  @inlinable package func isEqual(to text: StaticString) -> Bool {
    count == text.utf8CodeUnitCount && memcmp(baseAddress ?? text.utf8Start, text.utf8Start, count) == 0
  }
}
