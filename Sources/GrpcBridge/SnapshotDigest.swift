internal import COpenSSL

/// The SHA-256 (FIPS 180-4) of bytes that come in pieces, such as a snapshot's; a snapshot's last 32 bytes are the
/// digest of all others.
package struct SnapshotDigest: ~Copyable {
  /// The size of the digest, in bytes.
  static let size = 32

  // Owned by this value alone.
  private let context: OpaquePointer

  package init() {
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
      preconditionFailure("OpenSSL has no SHA-256")
    }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    let code = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    precondition(code == 1, "SHA-256 failed")
  }

  /// Finishes the digest: no bytes may follow.
  package mutating func finish() -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Self.size) { output, count in
      let code = EVP_DigestFinal_ex(context, output.baseAddress, nil)
      precondition(code == 1, "SHA-256 failed")
      count = Self.size
    }
  }
}
