internal import COpenSSL
internal import Glibc

extension TLSContext {
  /// The fault in the dates of this side's certificate now; nil if there is none, or no certificate.
  package var certificateFault: String? {
    guard let raw = SSL_CTX_get0_certificate(raw) else { return nil }
    let certificate = TLSCertificate(lent: raw)
    // Negative is the past, positive the future (X509_cmp_current_time(3)).
    if X509_cmp_current_time(X509_get0_notAfter(raw)) < 0 {
      return "the certificate has expired on \(certificate.end) (\(certificate.subject))"
    }
    if X509_cmp_current_time(X509_get0_notBefore(raw)) > 0 {
      return "the certificate is not valid before \(certificate.begin) (\(certificate.subject))"
    }
    return nil
  }
}

extension TLSContext {
  /// Until when this side's certificate is valid, in Unix time; nil if there is none.
  var certificateEnd: Int? {
    guard let raw = SSL_CTX_get0_certificate(raw) else { return nil }
    var end = tm()
    return ASN1_TIME_to_tm(X509_get0_notAfter(raw), &end) == 1 ? timegm(&end) : nil
  }

  /// The subject of this side's certificate, and until when it is valid, for users; nil if there is none.
  var certificateText: String? {
    guard let raw = SSL_CTX_get0_certificate(raw) else { return nil }
    let certificate = TLSCertificate(lent: raw)
    return "\(certificate.subject), good until \(certificate.end)"
  }
}
