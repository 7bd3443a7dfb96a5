/// A request's target (RFC 9112, section 3.2), as it was sent: not decoded.
package struct RequestTarget {
  /// `*`, which means the server as a whole.
  package static let asterisk: StaticString = "*"

  /// The path, without the query; `*` for the server as a whole.
  let path: HeadBytes
  /// What comes after the first `?`; nil if there is none.
  let query: HeadBytes?
  /// The host of a target that is an absolute URL; it takes precedence over the `Host` header (RFC 9112, section
  /// 3.2.2).
  let authority: HeadBytes?

  /// - Parameter bytes: the target, which must not move as long as this value is used.
  /// - Returns: nil for anything except a path, `*`, or an `http` or `https` URL.
  init?(_ bytes: HeadBytes) {
    let slash = UInt8(ascii: "/")
    let mark = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.endIndex
    query = mark < bytes.endIndex ? HeadBytes(rebasing: bytes[(mark + 1)...]) : nil
    let beforeQuery = bytes[..<mark]
    if beforeQuery.first == slash || beforeQuery.elementsEqual([UInt8(ascii: "*")]) {
      path = HeadBytes(rebasing: beforeQuery)
      authority = nil
      return
    }
    guard let scheme = Self.scheme(beforeQuery) else { return nil }
    let rest = beforeQuery.dropFirst(scheme)
    let end = rest.firstIndex(of: slash) ?? rest.endIndex
    let host = HeadBytes(rebasing: rest[..<end])
    guard HeadCheck.isHost(host) else { return nil }
    authority = host
    path = end < rest.endIndex ? HeadBytes(rebasing: rest[end...]) : Self.root
  }

  /// The length of `http://` or `https://`; nil if the text begins with neither.
  private static func scheme(_ text: HeadBytes.SubSequence) -> Int? {
    for scheme in ["http://" as StaticString, "https://"] {
      let length = scheme.utf8CodeUnitCount
      if text.prefix(length).isNamed(scheme) { return length }
    }
    return nil
  }

  private static let rootPath: StaticString = "/"
  private static var root: HeadBytes { HeadBytes(start: rootPath.utf8Start, count: 1) }

  /// The parameters of the query in their order, as they were sent: names, and values; a value is nil if there is no
  /// `=`.
  var queryItems: [(name: HeadBytes, value: HeadBytes?)] {
    guard let query else { return [] }
    return query.split(separator: UInt8(ascii: "&")).map { item in
      let item = HeadBytes(rebasing: item)
      guard let equals = item.firstIndex(of: UInt8(ascii: "=")) else { return (item, nil) }
      return (HeadBytes(rebasing: item[..<equals]), HeadBytes(rebasing: item[(equals + 1)...]))
    }
  }
}
