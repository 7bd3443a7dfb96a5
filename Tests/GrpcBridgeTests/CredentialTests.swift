import Testing

@testable import GrpcBridge

/// The keyed hash that stands for a user and password.
@Suite struct CredentialKeyTests {
  private func key(_ text: String, _ hasher: CredentialHasher) -> CredentialKey {
    Array(text.utf8).withUnsafeBytes { hasher.key(for: $0) }
  }

  @Test func equalCredentialsHaveEqualKeysOnEveryShard() {
    let (one, other) = (CredentialHasher(), CredentialHasher())
    #expect(key("ann:secret", one) == key("ann:secret", one))
    #expect(key("ann:secret", one) == key("ann:secret", other))
  }

  @Test(arguments: ["ann:", "ann:secreT", "Ann:secret", "ann:secret ", "", ":", "ann:secret\0"])
  func othersHaveOtherKeys(text: String) {
    let hasher = CredentialHasher()
    #expect(key(text, hasher) != key("ann:secret", hasher))
  }
}
