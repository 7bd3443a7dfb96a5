/// The value of an `Authorization` header (RFC 9110, section 11.6.2), as far as its meaning is the same for all
/// services.
@usableFromInline package enum AuthorizationField {
  /// The scheme, and the text after it without the blanks between, of which there may be several (RFC 9110, section
  /// 11.4); nil if no text follows.
  package static func parts(of header: HeadBytes) -> (scheme: Slice<HeadBytes>, value: HeadBytes)? {
    guard let space = header.firstIndex(of: UInt8(ascii: " ")) else { return nil }
    return (header[..<space], UnsafeBufferPointer(rebasing: header[space...].drop { $0 == UInt8(ascii: " ") }))
  }

  /// Whether the header has a user and password, valid or not.
  package static func isBasic(_ header: HeadBytes?) -> Bool { has("basic", header) }

  /// Whether the header has a token, valid or not, with the scheme of RFC 6750 (section 2.1).
  package static func isBearer(_ header: HeadBytes?) -> Bool { has("bearer", header) }

  private static func has(_ scheme: StaticString, _ header: HeadBytes?) -> Bool {
    header.flatMap { parts(of: $0) }?.scheme.isNamed(scheme) ?? false
  }

  /// Whether the text may be a token, which is sent in a header of its own: it must have visible characters only.
  @inlinable
  package static func isToken(_ text: some Collection<UInt8>) -> Bool {
    !text.isEmpty && text.allSatisfy { (0x21...0x7E).contains($0) }
  }

  /// The token in a WebSocket's subprotocol, which has neither a scheme nor a blank. Nil if it is no token.
  static func token(ofSubprotocol text: some Collection<UInt8>) -> [UInt8]? {
    text.isNamed("basic") || text.isNamed("bearer") || !isToken(text) ? nil : Array(text)
  }
}
