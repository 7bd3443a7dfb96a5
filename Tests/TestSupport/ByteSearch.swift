import Glibc

extension [UInt8] {
  /// The first position of `pattern`, which must not be empty, from `start` on.
  ///
  /// By the C library: tests search through very much, and the collections of a build without optimization take a
  /// hundred times as long.
  package func firstIndex(of pattern: [UInt8], from start: Int = 0) -> Int? {
    guard let first = pattern.first else { return nil }
    return withUnsafeBytes { bytes -> Int? in
      guard let base = bytes.baseAddress else { return nil }
      var position = start
      while position + pattern.count <= bytes.count {
        let room = bytes.count - position - pattern.count + 1
        guard let found = memchr(base + position, Int32(first), room) else { return nil }
        if memcmp(found, pattern, pattern.count) == 0 { return UnsafeRawPointer(found) - base }
        position = UnsafeRawPointer(found) - base + 1
      }
      return nil
    }
  }

  /// The lines that begin with `prefix`, except the first.
  package func lines(beginningWith prefix: String) -> [String] {
    let mark = Array("\n\(prefix)".utf8)
    var lines: [String] = []
    var position = 0
    while let found = firstIndex(of: mark, from: position) {
      position = firstIndex(of: [UInt8(ascii: "\n")], from: found + 1) ?? count
      lines.append(String(decoding: self[(found + 1)..<position], as: UTF8.self))
    }
    return lines
  }
}
