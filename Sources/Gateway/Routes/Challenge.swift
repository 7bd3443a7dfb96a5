import HTTPServer

/// The challenges of a 401 answer (RFC 9110, section 11.6.1): the schemes that may still give the client access.
enum Challenge {
  /// A user and password (RFC 7617, section 2).
  private static let basic = "Basic realm=\"etcd\""
  /// The same after a user and password that were wrong. The tab, which RFC 9110 (section 5.6.3) allows beside a comma,
  /// is for Foundation on Linux: it cancels a request that is asked for a password again, so that the program never
  /// sees the 401. It does not find the realm behind a tab (the token that it expects there has no blanks), and then
  /// hands out the answer. Browsers, curl and Python's `urllib` take the tab for what it is.
  private static let basicAgain = "Basic charset=\"UTF-8\",\trealm=\"etcd\""
  /// A token (RFC 6750, section 3).
  private static let bearer = "Bearer realm=\"etcd\""
  /// Another token than that of the request (RFC 6750, section 3.1).
  private static let otherBearer = bearer + ", error=\"invalid_token\""

  /// The challenges of the 401 answer to a request.
  ///
  /// A program that sends a user and password, and asks for a content type, is not asked for them again: it would send
  /// the same ones until it gives up. A client that names no type has the one challenge that it knows: Python's
  /// `urllib` fails on others after it has not found a realm in this one.
  ///
  /// Browsers need the challenge if the password is from their own dialog: it makes them forget the password and show
  /// the dialog again. They use it for pages and event streams; a script's `fetch()` may have its own password, and
  /// then its page asks for a better one.
  static func headers(to head: borrowing RequestHead) -> HTTPResponse.Headers {
    let name: StaticString = "WWW-Authenticate"
    if AuthorizationField.isBasic(head.authorization) {
      switch head.accepted {
      case .json, .bytes, .text, .lines: return [(name, bearer)]
      case nil: return [(name, basicAgain)]
      case .html, .events: break
      }
    }
    return [(name, basic), (name, AuthorizationField.isBearer(head.authorization) ? otherBearer : bearer)]
  }
}
