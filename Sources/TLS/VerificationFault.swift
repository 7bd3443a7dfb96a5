internal import COpenSSL

/// The fault of a peer's certificate: OpenSSL's verdict (X509_STORE_CTX_get_error(3)) in words that say what to do.
struct VerificationFault: CustomStringConvertible {
  let code: Int32
  /// The certificate that failed: the peer's, or one above it.
  let certificate: TLSCertificate?
  /// The name of the intended peer.
  let serverName: String
  /// The file of the trusted authorities; nil for those of the system.
  let authorities: String?

  var description: String {
    let subject = certificate.map { $0.subject.isEmpty ? "its subject is empty" : $0.subject } ?? "no certificate"
    return "\(reason) (\(subject))"
  }

  private var reason: String {
    switch code {
    case X509_V_ERR_CERT_HAS_EXPIRED: "it expired on \(certificate?.end ?? "?")"
    case X509_V_ERR_CERT_NOT_YET_VALID: "it is not valid before \(certificate?.begin ?? "?")"
    case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: "it is \(names), not for \(serverName)"
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
      X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
      X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_CERT_SIGNATURE_FAILURE, X509_V_ERR_CERT_UNTRUSTED:
      "it was issued by \(certificate?.issuer ?? "?"), which is no authority of \(authorities ?? "the system")"
    default: openSSLText
    }
  }

  private var names: String {
    let names = certificate?.alternativeNames ?? ""
    return names.isEmpty ? "for no name or address" : "for \(names)"
  }

  private var openSSLText: String { String(cString: X509_verify_cert_error_string(Int(code))) }
}
