import Glibc

/// The names of an object's members: a table that is made once, as there may be thousands of objects of a kind.
package struct JSONMembers<Name: Sendable & RawRepresentable<String>>: Sendable {
  let names: [Name]
  let table: MemberNames
  /// The names that an error about an unknown member lists.
  let told: String

  /// - Parameters:
  ///   - names: at most 64 of them.
  ///   - refused: names among them that are known only so that they are refused with a reason.
  package init(_ names: [Name], refused: [Name] = []) {
    precondition(names.count <= UInt64.bitWidth, "more members than bits")
    self.names = names
    table = MemberNames(names.map(\.rawValue))
    let untold = refused.map(\.rawValue)
    told = names.map(\.rawValue).filter { !untold.contains($0) }.joined(separator: ", ")
  }
}

/// Names as bytes, one after the other.
struct MemberNames: Sendable {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []
  private var longest = 0

  init(_ names: [String]) {
    for name in names {
      bytes += name.utf8
      ends.append(bytes.count)
      longest = max(longest, name.utf8.count)
    }
  }

  /// The index of the name that `text` is; nil if it is none of them.
  func index(of text: JSONText) -> Int? {
    guard text.hasEscapes else { return index(of: UnsafeBufferPointer(start: text.start, count: text.count)) }
    // An escape takes at most six bytes for one of a name.
    guard text.count <= 6 * longest else { return nil }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: text.count) { plain in
      guard let start = plain.baseAddress else { return nil }
      return index(of: UnsafeBufferPointer(start: start, count: text.unescape(to: start)))
    }
  }

  private func index(of text: UnsafeBufferPointer<UInt8>) -> Int? {
    guard let wanted = text.baseAddress else { return nil }
    return bytes.withUnsafeBufferPointer { names in
      guard let start = names.baseAddress else { return nil }
      var begin = 0
      for index in ends.indices {
        let end = ends[index]
        if end - begin == text.count && memcmp(start + begin, wanted, text.count) == 0 { return index }
        begin = end
      }
      return nil
    }
  }
}
