import HTTPServer

/// What a browser may do for a page of the gateway's own (Content Security Policy Level 3).
enum PagePolicy {
  /// Swagger UI: scripts, styles and requests of the same origin, and embedded pictures.
  static let swagger = "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"

  /// A page with one embedded style sheet, one embedded script, and embedded pictures.
  static func style(_ sheet: String, script: String) -> String {
    "style-src 'sha256-\(Base64Digest.sha256(sheet))'; script-src 'sha256-\(Base64Digest.sha256(script))'; img-src data:"
  }

  /// The header fields of a page that may only do what `sources` say, and that no other page may show in a frame.
  static func headers(allowing sources: String) -> HTTPResponse.Headers {
    [
      (
        "Content-Security-Policy",
        "default-src 'none'; \(sources); base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
      ),
      ("Referrer-Policy", "no-referrer"),
    ]
  }
}
