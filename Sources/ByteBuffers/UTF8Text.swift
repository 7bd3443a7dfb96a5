/// Text that comes in pieces, checked to be UTF-8 (RFC 3629).
package enum UTF8Text {
  /// Checks the characters of `bytes` from the beginning.
  ///
  /// - Returns: how many bytes are whole, well-formed characters; nil if the bytes after them cannot begin a character,
  ///   whatever follows.
  package static func wellFormed(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard let base = bytes.baseAddress else { return 0 }
    let start = base.assumingMemoryBound(to: UInt8.self)
    let end = start + bytes.count
    var at = start
    while at < end {
      if end - at >= 8, UnsafeRawPointer(at).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0 {
        at += 8
      } else if at.pointee < 0x80 {
        at += 1
      } else {
        switch UTF8Sequence.at(at, end) {
        case .character(let count): at += count
        case .incomplete: return at - start
        case .malformed: return nil
        }
      }
    }
    return bytes.count
  }
}
