/// Bytes of a request's head in the connection's memory, which lives until the request is completed.
package typealias HeadBytes = UnsafeBufferPointer<UInt8>

extension Collection<UInt8> {
  /// Whether the text equals `lower`, which is in lower case, ignoring the case of ASCII letters.
  @inlinable
  package func isNamed(_ lower: StaticString) -> Bool {
    count == lower.utf8CodeUnitCount && isNamed(UnsafeBufferPointer(start: lower.utf8Start, count: count))
  }

  @inlinable
  package func isNamed(_ lower: some Collection<UInt8>) -> Bool {
    guard count == lower.count else { return false }
    return zip(self, lower).allSatisfy { ((0x41...0x5A).contains($0) ? $0 | 0x20 : $0) == $1 }
  }

  /// Whether the text is a `token` (RFC 9110, section 5.6.2).
  package var isToken: Bool { !isEmpty && allSatisfy(HeadCheck.isToken) }
}

extension UInt8 {
  /// Whether it is one of the ten ASCII digits.
  @inlinable
  package var isDigit: Bool { (0x30...0x39).contains(self) }
}

extension HeadBytes {
  /// The text without blanks at its ends (RFC 9110, section 5.5).
  var trimmed: HeadBytes { HeadBytes(rebasing: self[...].trimmed) }
}

extension BidirectionalCollection<UInt8> where SubSequence == Self {
  /// The text without blanks at its ends (RFC 9110, section 5.6.3).
  var trimmed: Self {
    guard let last = lastIndex(where: { !HeadCheck.isBlank($0) }) else { return self[endIndex...] }
    return self[...last].drop(while: HeadCheck.isBlank)
  }
}

extension BidirectionalCollection<UInt8> {
  /// The elements of a list without the blanks around them; empty ones are left out (RFC 9110, section 5.6.1).
  var listElements: [SubSequence] { elements(separatedBy: UInt8(ascii: ",")) }

  /// The entity tags of a list (RFC 9110, section 8.8.3), in which a backslash has no special meaning.
  var tagElements: [SubSequence] { elements(separatedBy: UInt8(ascii: ","), hasEscapes: false) }

  /// The parts between separators outside of quoted text (RFC 9110, section 5.6.4), without the blanks around them.
  ///
  /// - Parameter hasEscapes: whether a backslash in quoted text quotes the next character.
  private func elements(separatedBy separator: UInt8, hasEscapes: Bool = true) -> [SubSequence] {
    var elements: [SubSequence] = []
    var (start, isQuoted, isEscaped) = (startIndex, false, false)
    func add(upTo end: Index) {
      let element = self[start..<end].trimmed
      if !element.isEmpty { elements.append(element) }
    }
    for index in indices {
      let byte = self[index]
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\"") {
        isQuoted.toggle()
      } else if isQuoted {
        isEscaped = hasEscapes && byte == UInt8(ascii: "\\")
      } else if byte == separator {
        add(upTo: index)
        start = self.index(after: index)
      }
    }
    add(upTo: endIndex)
    return elements
  }

  /// An element of a list without its parameters; nil if its weight is 0, which is a refusal (RFC 9110, section
  /// 12.4.2).
  var acceptedName: SubSequence? {
    let parts = elements(separatedBy: UInt8(ascii: ";"))
    guard let name = parts.first, !parts.dropFirst().contains(where: \.isRefusal) else { return nil }
    return name
  }

  /// Whether a parameter is a weight of zero.
  private var isRefusal: Bool {
    guard count >= 3, prefix(2).isNamed("q=") else { return false }
    return dropFirst(2).allSatisfy { $0 == UInt8(ascii: "0") || $0 == UInt8(ascii: ".") }
  }
}
