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
/// - Parameter weHaveCertificate: whether we could have sent a certificate: some peers miss it without saying so.
func describe(alert: Int32, weHaveCertificate: Bool) -> String {
  switch alert {
  case SSL_AD_CERTIFICATE_REQUIRED, SSL_AD_BAD_CERTIFICATE, SSL_AD_HANDSHAKE_FAILURE:
    if !weHaveCertificate {
      return "\(name(ofAlert: alert)); it may want a certificate of ours, and there is none"
    }
  default: break
  }
  return name(ofAlert: alert)
}

private func name(ofAlert alert: Int32) -> String {
  switch alert {
  case SSL_AD_CERTIFICATE_REQUIRED: "it requires a certificate"
  case SSL_AD_BAD_CERTIFICATE: "it does not accept our certificate"
  case SSL_AD_UNSUPPORTED_CERTIFICATE: "our certificate is of a kind that it does not take"
  case SSL_AD_CERTIFICATE_REVOKED: "our certificate was revoked"
  case SSL_AD_CERTIFICATE_EXPIRED: "our certificate has expired"
  case SSL_AD_CERTIFICATE_UNKNOWN: "it does not accept our certificate, for a reason of its own"
  case SSL_AD_UNKNOWN_CA: "it does not know the authority that signed our certificate"
  case SSL_AD_ACCESS_DENIED: "our certificate is good, but gives no access"
  case SSL_AD_PROTOCOL_VERSION: "it does not speak our versions of TLS"
  case SSL_AD_HANDSHAKE_FAILURE: "there is no way of TLS that suits both"
  case SSL_AD_INSUFFICIENT_SECURITY: "it wants stronger ciphers"
  case SSL_AD_NO_APPLICATION_PROTOCOL: "it does not speak the protocol we want (ALPN)"
  case SSL_AD_UNRECOGNIZED_NAME: "it has no certificate for the server name we asked for"
  case SSL_AD_INTERNAL_ERROR: "internal error"
  default: "TLS alert \(alert), \(String(cString: SSL_alert_desc_string_long(alert)))"
  }
}
