internal import COpenSSL
import Foundation

/// A certificate authority for one test: issues certificates, as PEM files in a folder of the test's.
///
/// Keys are elliptic (P-256), which costs next to nothing. Not for several threads at once.
package final class TestAuthority {
  /// A certificate and its key.
  package struct Files: Sendable {
    package let certificate: String
    package let key: String
  }

  /// The validity of a certificate.
  package enum Validity: Sendable {
    case current
    /// It ended an hour ago.
    case expired
    /// It begins in an hour.
    case future

    fileprivate var seconds: (from: Int, to: Int) {
      switch self {
      case .current: (-3600, 86_400)
      case .expired: (-7200, -3600)
      case .future: (3600, 86_400)
      }
    }
  }

  /// What a certificate may be used for.
  package enum Usage: String, Sendable {
    case server = "serverAuth"
    case client = "clientAuth"
    case both = "serverAuth,clientAuth"
  }

  /// The authority's own certificate.
  package let certificate: String
  private let directory: String
  private let signer: Certified

  /// Makes an authority.
  ///
  /// - Parameters:
  ///   - name: its common name, and that of its file.
  ///   - directory: the folder for the files.
  package init(_ name: String = "ca", in directory: String) throws {
    self.directory = directory
    let key = try Certified.makeKey()
    signer = try Certified(
      subject: [("CN", name)], key: key, issuer: nil, validity: .current,
      extensions: [(NID_basic_constraints, "critical,CA:TRUE"), (NID_key_usage, "critical,keyCertSign,cRLSign")])
    certificate = "\(directory)/\(name).pem"
    try signer.write(certificate: certificate)
  }

  /// Makes a certificate and its key.
  ///
  /// - Parameters:
  ///   - name: the name of the files; existing ones are replaced at once, as by a renewal.
  ///   - hosts: the names and addresses for which it is valid.
  ///   - commonName: the CN of its subject; none if nil.
  @discardableResult
  package func issue(
    _ name: String, for hosts: [String] = ["localhost", "127.0.0.1", "::1"], commonName: String? = nil,
    validity: Validity = .current, usage: Usage = .both
  ) throws -> Files {
    let names = hosts.map { host in host.contains(/^[0-9.]+$|:/) ? "IP:\(host)" : "DNS:\(host)" }
    let organization = [("O", "tests of etcd-rest")]
    let leaf = try Certified(
      subject: organization + (commonName.map { [("CN", $0)] } ?? []), key: try Certified.makeKey(), issuer: signer,
      validity: validity,
      extensions: (names.isEmpty ? [] : [(NID_subject_alt_name, names.joined(separator: ","))])
        + [(NID_ext_key_usage, usage.rawValue)])
    let files = Files(certificate: "\(directory)/\(name).pem", key: "\(directory)/\(name).key")
    try leaf.write(certificate: files.certificate)
    try leaf.write(key: files.key)
    return files
  }
}

/// A certificate and its key, as OpenSSL's objects.
private final class Certified {
  let certificate: OpaquePointer
  let key: OpaquePointer

  /// - Parameter key: is taken over.
  init(
    subject: [(String, String)], key: OpaquePointer, issuer: Certified?, validity: TestAuthority.Validity,
    extensions: [(Int32, String)]
  ) throws {
    self.key = key
    guard let certificate = X509_new() else { throw TestSupportError("X509_new") }
    self.certificate = certificate
    X509_set_version(certificate, 2)
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), UInt64.random(in: 1...UInt64(Int64.max)))
    X509_gmtime_adj(X509_getm_notBefore(certificate), validity.seconds.from)
    X509_gmtime_adj(X509_getm_notAfter(certificate), validity.seconds.to)
    X509_set_pubkey(certificate, key)
    for (field, value) in subject {
      X509_NAME_add_entry_by_txt(
        X509_get_subject_name(certificate), field, 0x1000, value, Int32(value.utf8.count), -1, 0)
    }
    X509_set_issuer_name(certificate, X509_get_subject_name(issuer?.certificate ?? certificate))
    for (kind, value) in extensions {
      guard let made = X509V3_EXT_conf_nid(nil, nil, kind, value) else {
        throw TestSupportError("no certificate with \(value)")
      }
      X509_add_ext(certificate, made, -1)
      X509_EXTENSION_free(made)
    }
    guard X509_sign(certificate, issuer?.key ?? key, EVP_sha256()) > 0 else { throw TestSupportError("X509_sign") }
  }

  deinit {
    X509_free(certificate)
    EVP_PKEY_free(key)
  }

  static func makeKey() throws -> OpaquePointer {
    let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
    defer { EVP_PKEY_CTX_free(context) }
    var key: OpaquePointer?
    EVP_PKEY_keygen_init(context)
    EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1)
    EVP_PKEY_keygen(context, &key)
    guard let key else { throw TestSupportError("EVP_PKEY_keygen") }
    return key
  }

  func write(certificate path: String) throws {
    try replace(path) { PEM_write_bio_X509($0, certificate) }
  }

  func write(key path: String) throws {
    try replace(path) { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
  }

  /// Replaces an older file as a whole.
  private func replace(_ path: String, by write: (OpaquePointer) -> Int32) throws {
    guard let file = BIO_new_file(path + ".new", "w") else { throw TestSupportError("cannot write \(path)") }
    let code = write(file)
    BIO_free(file)
    guard code == 1, rename(path + ".new", path) == 0 else { throw TestSupportError("cannot write \(path)") }
  }
}
