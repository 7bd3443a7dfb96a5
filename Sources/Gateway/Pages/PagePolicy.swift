internal import COpenSSL

/// What a browser may do on account of a page of the gateway's own (Content Security Policy Level 3).
enum PagePolicy {
  /// Swagger UI: scripts, styles and requests of the same origin, and pictures that are part of them.
  static let swagger = "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"

  /// A page with one style sheet inside it and pictures likewise.
  static func style(_ sheet: String) -> String {
    "style-src 'sha256-\(digest(of: sheet))'; img-src data:"
  }

  /// The headers of a page that may do what `sources` say and nothing else, and that no other page may show in a frame.
  static func headers(allowing sources: String) -> HTTPResponse.Headers {
    [
      (
        "Content-Security-Policy",
        "default-src 'none'; \(sources); base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
      ),
      ("Referrer-Policy", "no-referrer"),
    ]
  }

  /// SHA-256, in base64.
  private static func digest(of text: String) -> String {
    let text = Array(text.utf8)
    var digest = [UInt8](repeating: 0, count: 32)
    let code = EVP_Digest(text, text.count, &digest, nil, EVP_sha256(), nil)
    precondition(code == 1, "OpenSSL has no SHA-256")
    // 44 characters, and a zero.
    var base64 = [UInt8](repeating: 0, count: 45)
    EVP_EncodeBlock(&base64, digest, Int32(digest.count))
    return String(decoding: base64.dropLast(), as: UTF8.self)
  }
}
