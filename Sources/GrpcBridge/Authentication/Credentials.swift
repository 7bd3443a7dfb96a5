import ByteBuffers
internal import COpenSSL

/// A user name and password.
package struct BasicCredentials: Sendable, Equatable {
  package let user: String
  package let password: String

  package init(user: String, password: String) {
    self.user = user
    self.password = password
  }
}

/// A token of etcd. An empty one stands for a login that etcd answered with *authentication is not enabled*.
package final class Token: Sendable, Hashable {
  let bytes: [UInt8]

  package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

  var isEmpty: Bool { bytes.isEmpty }

  package static func == (left: Token, right: Token) -> Bool { left.bytes == right.bytes }
  package func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}

/// A keyed hash of user and password, kept in their place. Equal keys mean equal credentials, so that finding a key
/// verifies the password.
package struct CredentialKey: Hashable, Sendable {
  private let words: (UInt64, UInt64, UInt64, UInt64)

  fileprivate init(_ words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  package static func == (left: Self, right: Self) -> Bool { left.words == right.words }

  package func hash(into hasher: inout Hasher) {
    // Any part of the keyed hash is as good as random.
    hasher.combine(words.0)
  }
}

/// Makes ``CredentialKey``s: HMAC-SHA-256 (RFC 2104) under a random key of this process. Belongs to one thread.
final class CredentialHasher {
  /// The key of this process, drawn at first use.
  private static let key: [UInt8] = {
    var key = [UInt8](repeating: 0, count: 32)
    precondition(RAND_bytes(&key, Int32(key.count)) == 1, "OpenSSL gives no random bytes")
    return key
  }()

  private let context: OpaquePointer

  init() {
    let algorithm = EVP_MAC_fetch(nil, "HMAC", nil)
    context = EVP_MAC_CTX_new(algorithm)!
    EVP_MAC_free(algorithm)
    // OpenSSL keeps pointers to both texts until they are read: they must live for ever.
    let name: StaticString = "digest"
    let digest: StaticString = "SHA256"
    var parameters = [
      OSSL_PARAM_construct_utf8_string(name.cString, UnsafeMutablePointer(mutating: digest.cString), 0),
      OSSL_PARAM_construct_end(),
    ]
    let code = EVP_MAC_init(context, Self.key, Self.key.count, &parameters)
    precondition(code == 1, "OpenSSL has no HMAC-SHA-256")
  }

  deinit { EVP_MAC_CTX_free(context) }

  /// The key of `userPass`, the user name, a colon and the password.
  func key(for userPass: UnsafeRawBufferPointer) -> CredentialKey {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let ok = withUnsafeMutableBytes(of: &words) { output in
      var written = 0
      return EVP_MAC_init(context, nil, 0, nil) == 1
        && EVP_MAC_update(context, userPass.bindMemory(to: UInt8.self).baseAddress, userPass.count) == 1
        && EVP_MAC_final(context, output.bindMemory(to: UInt8.self).baseAddress, &written, output.count) == 1
        && written == output.count
    }
    // A hash that was not made must never look like one that was.
    precondition(ok, "HMAC-SHA-256 failed")
    return CredentialKey(words)
  }
}
