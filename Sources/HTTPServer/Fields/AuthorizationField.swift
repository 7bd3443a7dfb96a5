/// The value of an `Authorization` header (RFC 9110, section 11.6.2), as far as it is the same for all services.
@usableFromInline package enum AuthorizationField {
  /// The scheme, and what comes after the blanks behind it, of which there may be several (RFC 9110, section 11.4); nil
  /// if there is nothing behind it.
  package static func parts(of header: HeadBytes) -> (scheme: Slice<HeadBytes>, value: HeadBytes)? {
    guard let space = header.firstIndex(of: UInt8(ascii: " ")) else { return nil }
    return (header[..<space], UnsafeBufferPointer(rebasing: header[space...].drop { $0 == UInt8(ascii: " ") }))
  }

  /// Whether the header names a user and password, good ones or not.
  package static func isBasic(_ header: HeadBytes?) -> Bool {
    guard let header, let (scheme, _) = parts(of: header) else { return false }
    return scheme.isNamed("basic")
  }

  /// Whether the text may be a token, which goes into a header of its own: nothing but visible characters may be in it.
  @inlinable
  package static func isToken(_ text: some Collection<UInt8>) -> Bool {
    !text.isEmpty && text.allSatisfy { (0x21...0x7E).contains($0) }
  }

  /// The token of a WebSocket's subprotocol, which is a token and nothing else: no scheme, no blank. Nil if it is
  /// not.
  package static func token(ofSubprotocol text: some Collection<UInt8>) -> [UInt8]? {
    text.isNamed("basic") || text.isNamed("bearer") || !isToken(text) ? nil : Array(text)
  }
}
