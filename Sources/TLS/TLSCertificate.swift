internal import COpenSSL

/// A certificate that OpenSSL owns: valid as long as its owner.
struct TLSCertificate {
  private let raw: OpaquePointer

  init(lent raw: OpaquePointer) { self.raw = raw }

  /// The subject's distinguished name (RFC 4514), control characters escaped.
  var subject: String {
    text { print_name($0, X509_get_subject_name(raw)) }
  }

  /// The issuer's distinguished name.
  var issuer: String {
    text { print_name($0, X509_get_issuer_name(raw)) }
  }

  /// The end of its validity.
  var end: String { text { ASN1_TIME_print($0, X509_get0_notAfter(raw)) } }

  /// The beginning of its validity.
  var begin: String { text { ASN1_TIME_print($0, X509_get0_notBefore(raw)) } }

  /// The names and addresses for which it is valid; empty if it has none.
  var alternativeNames: String {
    let index = X509_get_ext_by_NID(raw, NID_subject_alt_name, -1)
    guard index >= 0 else { return "" }
    return text { X509V3_EXT_print($0, X509_get_ext(raw, index), 0, 0) }
  }

  /// The common name of the subject; nil if it has none.
  var commonName: String? {
    let name = X509_get_subject_name(raw)
    let index = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
    guard index >= 0 else { return nil }
    return text { print_string($0, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index))) }
  }

  /// The output of `print`, cut so that a peer cannot fill the log.
  private func text(_ print: (OpaquePointer) -> Int32) -> String {
    guard let memory = BIO_new(BIO_s_mem()) else { return "" }
    defer { BIO_free(memory) }
    _ = print(memory)
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer in
      let count = BIO_read(memory, buffer.baseAddress, Int32(buffer.count))
      return String(decoding: buffer.prefix(Int(max(0, count))), as: UTF8.self)
    }
  }
}
