internal import COpenSSL

extension OpenSSLReason {
  /// Whether what the peer sent in answer to our greeting was not TLS at all.
  var isOfForeignProtocol: Bool {
    [
      SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_PACKET_LENGTH_TOO_LONG,
      SSL_R_BAD_RECORD_TYPE, SSL_R_UNKNOWN_PROTOCOL,
    ].contains { isSSL($0) }
  }

  /// Why a handshake or a connection of ours failed, in one line.
  func description(for settings: TLSSettings) -> String {
    if isSSL(SSL_R_UNSUPPORTED_PROTOCOL) || isSSL(SSL_R_VERSION_TOO_LOW) {
      return "the peer speaks no TLS \(settings.minimumVersion.rawValue) or later"
    }
    if isSSL(SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) { return "the peer sent no certificate" }
    if isSSL(SSL_R_NO_SHARED_CIPHER) { return "there is no cipher that both sides take" }
    if isSSL(SSL_R_NO_APPLICATION_PROTOCOL) {
      return "the peer offers no protocol of ours (\(settings.protocols.joined(separator: ", ")))"
    }
    return "TLS error: \(text)"
  }
}

/// What a peer says with an alert (RFC 8446, section 6.2).
///
/// - Parameter certificate: the file of the certificate that we could have sent.
func describe(alert: Int32, certificate: String?) -> String {
  guard let certificate else {
    switch alert {
    // Some say no more than that the certificate which is missing is bad.
    case SSL_AD_CERTIFICATE_REQUIRED, SSL_AD_BAD_CERTIFICATE:
      return "it wants a certificate of ours, and there is none"
    case SSL_AD_HANDSHAKE_FAILURE:
      return "no way of TLS suits both; it may want a certificate of ours, and there is none"
    default: return describe(alert: alert)
    }
  }
  switch alert {
  case SSL_AD_CERTIFICATE_REQUIRED: return "it wants a certificate of ours, and takes not the one in \(certificate)"
  case SSL_AD_BAD_CERTIFICATE: return "it does not accept our certificate in \(certificate)"
  case SSL_AD_UNSUPPORTED_CERTIFICATE: return "it does not take certificates of the kind of ours in \(certificate)"
  case SSL_AD_CERTIFICATE_REVOKED: return "our certificate in \(certificate) was revoked"
  case SSL_AD_CERTIFICATE_EXPIRED: return "our certificate in \(certificate) has expired"
  case SSL_AD_CERTIFICATE_UNKNOWN: return "it does not accept our certificate in \(certificate), and does not say why"
  case SSL_AD_UNKNOWN_CA: return "it does not know the authority that signed our certificate in \(certificate)"
  case SSL_AD_ACCESS_DENIED: return "our certificate in \(certificate) is good, but gives no access"
  default: return describe(alert: alert)
  }
}

private func describe(alert: Int32) -> String {
  switch alert {
  case SSL_AD_PROTOCOL_VERSION: "it does not speak our versions of TLS"
  case SSL_AD_HANDSHAKE_FAILURE: "no way of TLS suits both"
  case SSL_AD_INSUFFICIENT_SECURITY: "it wants stronger ciphers"
  case SSL_AD_NO_APPLICATION_PROTOCOL: "it does not speak the protocol we want (ALPN)"
  case SSL_AD_UNRECOGNIZED_NAME: "it has no certificate for the server name we asked for"
  default: "TLS alert \(alert), \(String(cString: SSL_alert_desc_string_long(alert)))"
  }
}
