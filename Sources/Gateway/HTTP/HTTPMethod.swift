import Glibc

/// The methods the gateway knows (RFC 9110, section 9).
enum HTTPMethod: Int, CaseIterable {
  case get, head, post, put, delete, options, other

  init(_ text: UnsafePointer<CChar>) {
    self =
      if strcmp(text, "POST") == 0 {
        .post
      } else if strcmp(text, "GET") == 0 {
        .get
      } else if strcmp(text, "HEAD") == 0 {
        .head
      } else if strcmp(text, "PUT") == 0 {
        .put
      } else if strcmp(text, "DELETE") == 0 {
        .delete
      } else if strcmp(text, "OPTIONS") == 0 {
        .options
      } else {
        .other
      }
  }

  /// As requests have it; `other` for all that no route takes.
  var name: String {
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

/// Some of the methods.
struct HTTPMethods: OptionSet, CustomStringConvertible {
  let rawValue: Int

  init(rawValue: Int) { self.rawValue = rawValue }
  init(_ method: HTTPMethod) { rawValue = 1 << method.rawValue }

  static let get = HTTPMethods(.get)
  static let head = HTTPMethods(.head)
  static let post = HTTPMethods(.post)
  static let put = HTTPMethods(.put)
  static let delete = HTTPMethods(.delete)
  static let options = HTTPMethods(.options)

  /// Their names in a list, as headers have it.
  var description: String {
    HTTPMethod.allCases.filter { contains(HTTPMethods($0)) }.map(\.name).joined(separator: ", ")
  }
}
