import HTTPServer

/// The challenges of a 401 answer (RFC 9110, section 11.6.1): the schemes that may still give the client access.
enum Challenge {
  /// A user and password (RFC 7617, section 2).
  private static let basic = "Basic realm=\"etcd\""
  /// A token (RFC 6750, section 3).
  private static let bearer = "Bearer realm=\"etcd\""
  /// Another token than that of the request (RFC 6750, section 3.1).
  private static let otherBearer = bearer + ", error=\"invalid_token\""

  /// The challenges of the 401 answer to a request.
  ///
  /// A program that sends a user and password, and asks for a content type, is not asked for them again: it would send
  /// the same ones until it gives up. Other clients have the challenge that they know: Python's `urllib` takes a 401
  /// without it for an error of the server's.
  ///
  /// Browsers need the challenge if the password is from their own dialog: it makes them forget the password and show
  /// the dialog again. They use it for pages and event streams; a script's `fetch()` may have its own password, and
  /// then its page asks for a better one.
  static func headers(to head: borrowing RequestHead) -> HTTPResponse.Headers {
    let name: StaticString = "WWW-Authenticate"
    let isProgram = head.accepted != nil && head.accepted != .html && head.accepted != .events
    if AuthorizationField.isBasic(head.authorization) && isProgram { return [(name, bearer)] }
    return [(name, basic), (name, AuthorizationField.isBearer(head.authorization) ? otherBearer : bearer)]
  }
}
