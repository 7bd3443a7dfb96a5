internal import COpenSSL

/// Digests in base64, as in headers.
package enum Base64Digest {
  /// Not for secrets: the handshakes of WebSockets require it (RFC 6455, section 4.2.2).
  static func sha1(_ text: String) -> String { digest(of: text, EVP_sha1()) }

  package static func sha256(_ text: String) -> String { digest(of: text, EVP_sha256()) }

  private static func digest(of text: String, _ algorithm: OpaquePointer?) -> String {
    let text = Array(text.utf8)
    var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    let code = EVP_Digest(text, text.count, &digest, &count, algorithm, nil)
    precondition(code == 1, "OpenSSL lacks a digest")
    // A zero byte follows the characters.
    var base64 = [UInt8](repeating: 0, count: (digest.count + 2) / 3 * 4 + 1)
    let length = EVP_EncodeBlock(&base64, digest, Int32(count))
    return String(decoding: base64.prefix(Int(length)), as: UTF8.self)
  }
}
