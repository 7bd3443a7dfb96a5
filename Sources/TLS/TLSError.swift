/// Why a file, a handshake or a connection was refused, in one line.
package struct TLSError: Error, Hashable, CustomStringConvertible, Sendable {
  /// What it was that failed.
  package enum Kind: Sendable {
    /// A file of ours: it is not there, or not what it should be. The text begins with its path.
    case file
    /// The check of the peer's certificate.
    case verification
    /// The peer refused us and said so (RFC 8446, section 6.2).
    case refused
    /// The peer speaks something other than TLS.
    case notTLS
    /// The connection ended without close_notify: what came may not be all there was (RFC 8446, section 6.1).
    case truncated
    /// The system's connection.
    case system
    /// Everything else that TLS forbids.
    case violation
  }

  package let kind: Kind
  package let description: String

  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
