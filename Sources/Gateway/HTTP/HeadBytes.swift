/// Bytes of a request's head, where they lie: in libmicrohttpd's memory of the connection, which lives until the
/// request is completed.
typealias HeadBytes = UnsafeBufferPointer<UInt8>

extension Collection<UInt8> {
  /// Whether the text is another one, which is in lower case, in whichever case of its ASCII letters.
  func isNamed(_ lower: StaticString) -> Bool {
    count == lower.utf8CodeUnitCount && isNamed(UnsafeBufferPointer(start: lower.utf8Start, count: count))
  }

  func isNamed(_ lower: some Collection<UInt8>) -> Bool {
    guard count == lower.count else { return false }
    return zip(self, lower).allSatisfy { ((0x41...0x5A).contains($0) ? $0 | 0x20 : $0) == $1 }
  }

  /// Whether the text is a `token` (RFC 9110, section 5.6.2).
  var isToken: Bool { !isEmpty && allSatisfy(HeadCheck.isToken) }
}

extension HeadBytes {
  /// The text without the blanks around it (RFC 9110, section 5.5).
  var trimmed: HeadBytes { HeadBytes(rebasing: self[...].trimmed) }
}

extension HeadBytes.SubSequence {
  /// The text without the blanks around it (RFC 9110, section 5.6.3).
  var trimmed: Self {
    guard let last = lastIndex(where: { !HeadCheck.isBlank($0) }) else { return self[endIndex...] }
    return self[...last].drop(while: HeadCheck.isBlank)
  }
}
