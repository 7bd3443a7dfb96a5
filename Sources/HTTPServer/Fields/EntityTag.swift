/// The version of a key in a condition of a request (RFC 9110, section 8.8.3). A key's tag is its mod revision in
/// quotes.
package struct EntityTag {
  package let isWeak: Bool
  /// nil if no key ever has such a tag.
  package let revision: Int64?

  package static func text(_ revision: Int64) -> String { "\"\(revision)\"" }

  /// Reads a tag; nil if the text is malformed.
  fileprivate init?(_ text: Slice<HeadBytes>) {
    var text = text
    isWeak = text.starts(with: "W/".utf8)
    if isWeak { text = text.dropFirst(2) }
    let quote = UInt8(ascii: "\"")
    guard text.count >= 2, text.first == quote, text.last == quote else { return nil }
    let content = text.dropFirst().dropLast()
    guard !content.contains(where: { $0 == quote || $0 < 0x21 || $0 == 0x7F }) else { return nil }
    // Any other spelling is another tag. 0 is etcd's revision of a key that does not exist.
    let isNumber = content.allSatisfy(\.isDigit) && content.first != UInt8(ascii: "0")
    revision = isNumber ? Int64(String(decoding: content, as: UTF8.self)) : nil
  }
}

/// The content of an `If-Match` or `If-None-Match` header (RFC 9110, section 13.1).
package enum TagCondition {
  /// `*`: any version.
  case any
  case tags([EntityTag])

  /// - Parameters:
  ///   - lines: the header's lines.
  ///   - name: the header's name.
  /// - Returns: nil if there are no lines.
  /// - Throws: ``RequestError`` if the lines are malformed.
  package init?(_ lines: [HeadBytes], _ name: StaticString) throws(RequestError) {
    guard !lines.isEmpty else { return nil }
    if lines.count == 1, lines[0][...].trimmed.elementsEqual([UInt8(ascii: "*")]) {
      self = .any
      return
    }
    var tags: [EntityTag] = []
    for line in lines {
      for element in line.tagElements {
        guard let tag = EntityTag(element) else {
          throw .badRequest("\(name): expected * or tags such as \"42\"")
        }
        tags.append(tag)
      }
    }
    guard !tags.isEmpty else { throw .badRequest("\(name): expected * or tags such as \"42\"") }
    self = .tags(tags)
  }

  /// Whether a version matches by the strong comparison (RFC 9110, section 8.8.3.2).
  package func matchesStrongly(_ revision: Int64) -> Bool {
    switch self {
    case .any: true
    case .tags(let tags): tags.contains { !$0.isWeak && $0.revision == revision }
    }
  }

  /// Whether a version matches by the weak comparison.
  package func matchesWeakly(_ revision: Int64) -> Bool {
    switch self {
    case .any: true
    case .tags(let tags): tags.contains { $0.revision == revision }
    }
  }
}
