import ByteBuffers

/// The methods the gateway knows (RFC 9110, section 9).
package enum HTTPMethod: Int, CaseIterable {
  case get, head, post, put, delete, options, other

  init(_ text: HeadBytes) {
    self =
      if text.isEqual(to: "POST") {
        .post
      } else if text.isEqual(to: "GET") {
        .get
      } else if text.isEqual(to: "HEAD") {
        .head
      } else if text.isEqual(to: "PUT") {
        .put
      } else if text.isEqual(to: "DELETE") {
        .delete
      } else if text.isEqual(to: "OPTIONS") {
        .options
      } else {
        .other
      }
  }

  /// The name in requests; `other` for all methods that no route has.
  package var name: String {
    switch self {
    case .get: "GET"
    case .head: "HEAD"
    case .post: "POST"
    case .put: "PUT"
    case .delete: "DELETE"
    case .options: "OPTIONS"
    case .other: "other"
    }
  }

  /// Whether a request changes nothing (RFC 9110, section 9.2.1).
  var isSafe: Bool {
    switch self {
    case .get, .head, .options: true
    case .post, .put, .delete, .other: false
    }
  }
}

/// A set of methods.
package struct HTTPMethods: OptionSet, CustomStringConvertible {
  package let rawValue: Int

  package init(rawValue: Int) { self.rawValue = rawValue }
  package init(_ method: HTTPMethod) { rawValue = 1 << method.rawValue }

  package static let get = HTTPMethods(.get)
  package static let head = HTTPMethods(.head)
  package static let post = HTTPMethods(.post)
  package static let put = HTTPMethods(.put)
  package static let delete = HTTPMethods(.delete)
  package static let options = HTTPMethods(.options)

  /// Their names as a list in a header.
  package var description: String {
    HTTPMethod.allCases.filter { contains(HTTPMethods($0)) }.map(\.name).joined(separator: ", ")
  }
}
