internal import COpenSSL

extension OpenSSLReason {
  /// Whether the peer's answer to this side's greeting was not TLS at all.
  var isOfForeignProtocol: Bool {
    [
      SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_PACKET_LENGTH_TOO_LONG,
      SSL_R_BAD_RECORD_TYPE, SSL_R_UNKNOWN_PROTOCOL,
    ].contains { isSSL($0) }
  }

  /// Why a handshake or a connection of this side failed, in one line.
  func description(for settings: TLSSettings) -> String {
    if isSSL(SSL_R_UNSUPPORTED_PROTOCOL) || isSSL(SSL_R_VERSION_TOO_LOW) {
      return "the peer speaks no TLS \(settings.minimumVersion.rawValue) or later"
    }
    if isSSL(SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) { return "the peer sent no certificate" }
    if isSSL(SSL_R_NO_SHARED_CIPHER) { return "no cipher suits both sides" }
    if isSSL(SSL_R_NO_APPLICATION_PROTOCOL) {
      return "no protocol in common with the peer (\(settings.protocols.joined(separator: ", ")))"
    }
    return "TLS error: \(text)"
  }
}

/// The meaning of a peer's alert (RFC 8446, section 6.2).
///
/// - Parameter certificate: the file of the certificate that this side could have sent.
func describe(alert: Int32, certificate: String?) -> String {
  guard let certificate else {
    switch alert {
    // Some peers say only that the missing certificate is bad.
    case SSL_AD_CERTIFICATE_REQUIRED, SSL_AD_BAD_CERTIFICATE:
      return "it requires a client certificate, and none is configured"
    case SSL_AD_HANDSHAKE_FAILURE:
      return "no TLS parameters suit both sides; it may require a client certificate, and none is configured"
    default: return describe(alert: alert)
    }
  }
  switch alert {
  case SSL_AD_CERTIFICATE_REQUIRED: return "it requires a certificate and rejected the one in \(certificate)"
  case SSL_AD_BAD_CERTIFICATE: return "it rejected the certificate in \(certificate)"
  case SSL_AD_UNSUPPORTED_CERTIFICATE: return "it does not support the kind of certificate in \(certificate)"
  case SSL_AD_CERTIFICATE_REVOKED: return "the certificate in \(certificate) was revoked"
  case SSL_AD_CERTIFICATE_EXPIRED: return "the certificate in \(certificate) has expired"
  case SSL_AD_CERTIFICATE_UNKNOWN: return "it rejected the certificate in \(certificate) without a reason"
  case SSL_AD_UNKNOWN_CA: return "it does not know the authority that signed the certificate in \(certificate)"
  case SSL_AD_ACCESS_DENIED: return "the certificate in \(certificate) is valid, but gives no access"
  default: return describe(alert: alert)
  }
}

private func describe(alert: Int32) -> String {
  switch alert {
  case SSL_AD_PROTOCOL_VERSION: "it supports none of the TLS versions offered"
  case SSL_AD_HANDSHAKE_FAILURE: "no TLS parameters suit both sides"
  case SSL_AD_INSUFFICIENT_SECURITY: "it requires stronger ciphers"
  case SSL_AD_NO_APPLICATION_PROTOCOL: "it does not support the protocol offered (ALPN)"
  case SSL_AD_UNRECOGNIZED_NAME: "it has no certificate for the server name requested"
  default: "TLS alert \(alert), \(String(cString: SSL_alert_desc_string_long(alert)))"
  }
}
