internal import COpenSSL

/// A version of TLS.
package enum TLSVersion: String, Sendable, CaseIterable {
  case v1_2 = "1.2"
  case v1_3 = "1.3"

  var number: Int32 {
    switch self {
    case .v1_2: TLS1_2_VERSION
    case .v1_3: TLS1_3_VERSION
    }
  }
}

/// The settings of a ``TLSContext``.
package struct TLSSettings: Sendable, Equatable {
  package enum Role: Sendable {
    case client
    case server
  }

  /// The requirements on the peer's certificate.
  package enum Verification: Sendable {
    /// None: a client accepts any certificate, a server requests none.
    case none
    /// For servers: a certificate that is sent must be valid, but none need be sent.
    case ifGiven
    /// A valid one.
    case required
  }

  var role: Role
  var verification: Verification
  /// A PEM file of the certificates by which the peer's must be signed; nil for those of the system.
  package var authorities: String?
  /// A PEM file of this side's certificate, followed by those between it and an authority. A server needs one.
  package var certificate: String?
  /// The PEM file of its private key, without a passphrase.
  package var key: String?
  package var minimumVersion = TLSVersion.v1_2
  /// The protocols for ALPN (RFC 7301), best first; empty for none.
  package var protocols: [String] = []

  package init(_ role: Role, verification: Verification) {
    self.role = role
    self.verification = verification
  }

  /// The files that are set.
  package var files: [String] { [authorities, certificate, key].compactMap { $0 } }
}
