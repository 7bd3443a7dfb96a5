import GrpcBridge
import Transcoding

/// What a request's `Authorization` header says (RFC 9110, section 11.6.2).
enum RequestCredentials {
  case none
  /// Basic: a user and password (RFC 7617), by their key.
  case user(CredentialKey)
  /// Bearer (RFC 6750, section 2.1) or nothing but the token, as etcd's own gateway has it.
  case token(Token)
  /// A header that means nothing here, and why.
  case invalid(String)

  init(_ header: HeaderValue?, bridge: Bridge) {
    guard let header, !header.isEmpty else {
      self = .none
      return
    }
    guard let (scheme, value) = Self.parts(of: header) else {
      let isScheme = Self.isScheme(header[...], "basic") || Self.isScheme(header[...], "bearer")
      self = isScheme ? .invalid("there is nothing after the authorization scheme") : Self.token(header)
      return
    }
    if Self.isScheme(scheme, "basic") {
      self =
        Self.withUserPass(value) { .user(bridge.key(for: $0)) }
        ?? .invalid("the Basic credentials are not the base64 of USER:PASSWORD")
    } else if Self.isScheme(scheme, "bearer") {
      self = Self.token(value)
    } else {
      self = .invalid("the authorization scheme is none of Basic and Bearer")
    }
  }

  /// The user and password of a Basic header that was found valid before.
  static func basicCredentials(_ header: HeaderValue?) -> BasicCredentials {
    guard let header, let (_, value) = parts(of: header) else {
      return BasicCredentials(user: "", password: "")
    }
    return withUserPass(value) { userPass in
      let colon = userPass.firstIndex(of: UInt8(ascii: ":"))!
      return BasicCredentials(
        user: String(decoding: userPass[..<colon], as: UTF8.self),
        password: String(decoding: userPass[(colon + 1)...], as: UTF8.self))
    } ?? BasicCredentials(user: "", password: "")
  }

  /// The scheme, and what comes after the blanks behind it, of which there may be several (RFC 9110, section 11.4).
  private static func parts(of header: HeaderValue) -> (scheme: Slice<HeaderValue>, value: HeaderValue)? {
    guard let space = header.firstIndex(of: UInt8(ascii: " ")) else { return nil }
    return (header[..<space], UnsafeBufferPointer(rebasing: header[space...].drop { $0 == UInt8(ascii: " ") }))
  }

  private static func isScheme(_ text: Slice<HeaderValue>, _ name: StaticString) -> Bool {
    text.count == name.utf8CodeUnitCount && zip(text, 0...).allSatisfy { $0 | 0x20 == name.utf8Start[$1] }
  }

  /// Passes on the decoded user, colon and password; nil where the text is none.
  private static func withUserPass<Result>(
    _ text: HeaderValue, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result? {
    withUnsafeTemporaryAllocation(byteCount: text.count + 4, alignment: 1) { buffer in
      guard let count = Base64.decode(text, into: buffer) else { return nil }
      let userPass = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      return userPass.contains(UInt8(ascii: ":")) ? body(userPass) : nil
    }
  }

  /// A token goes into a header of its own: nothing but visible characters may be in it.
  private static func token(_ text: HeaderValue) -> RequestCredentials {
    guard !text.isEmpty, text.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      return .invalid("the token has characters that no token has")
    }
    return .token(Token(text))
  }
}
