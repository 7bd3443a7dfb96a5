import ByteBuffers
import GrpcBridge
import HTTPServer
import Transcoding

/// The content of a request's `Authorization` header (RFC 9110, section 11.6.2).
enum RequestCredentials {
  case none
  /// Basic: a user and password (RFC 7617), by their key.
  case user(CredentialKey)
  /// Bearer (RFC 6750, section 2.1), or only the token, as in etcd's own gateway.
  case token(Token)
  /// A malformed header, and the reason.
  case invalid(String)
  /// Basic, with a password that is too long for any user.
  case passwordIsTooLong

  /// bcrypt, with which etcd compares passwords, ignores all bytes after so many: any text that begins with the right
  /// ones would be accepted as well, each as credentials of its own. etcd from 3.5.28 on refuses to set such a
  /// password.
  static let longestPassword = 72

  init(_ header: HeadBytes?, bridge: Bridge) {
    guard let header, !header.isEmpty else {
      self = .none
      return
    }
    guard let (scheme, value) = AuthorizationField.parts(of: header) else {
      let isScheme = header.isNamed("basic") || header.isNamed("bearer")
      self = isScheme ? .invalid("the Authorization header has nothing after its scheme") : Self.token(header)
      return
    }
    if scheme.isNamed("basic") {
      self =
        Self.withUserPass(value) { userPass, colon in
          userPass.count - colon - 1 > Self.longestPassword ? .passwordIsTooLong : .user(bridge.key(for: userPass))
        }
        ?? .invalid("the Basic credentials are not the base64 of USER:PASSWORD")
    } else if scheme.isNamed("bearer") {
      self = Self.token(value)
    } else {
      self = .invalid("the authorization scheme is neither Basic nor Bearer")
    }
  }

  /// The user and password of a Basic header; nil if it is malformed.
  static func basicCredentials(_ header: HeadBytes?) -> BasicCredentials? {
    guard let header, let (scheme, value) = AuthorizationField.parts(of: header), scheme.isNamed("basic") else {
      return nil
    }
    return withUserPass(value) { userPass, colon in
      BasicCredentials(
        user: String(decoding: userPass[..<colon], as: UTF8.self),
        password: String(decoding: userPass[(colon + 1)...], as: UTF8.self))
    }
  }

  /// Passes on the decoded user, colon and password, and the position of the colon; nil if the text is malformed.
  private static func withUserPass<Result>(
    _ text: HeadBytes, _ body: (UnsafeRawBufferPointer, Int) -> Result
  ) -> Result? {
    withUnsafeTemporaryAllocation(byteCount: text.count + 4, alignment: 1) { buffer in
      guard let count = Base64.decode(text, into: buffer) else { return nil }
      let userPass = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      return userPass.firstIndex(of: UInt8(ascii: ":")).map { body(userPass, $0) }
    }
  }

  private static func token(_ text: HeadBytes) -> RequestCredentials {
    AuthorizationField.isToken(text) ? .token(Token(text)) : .invalid("the token has characters that are not allowed")
  }
}
