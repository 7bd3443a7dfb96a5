/// Why a file, a handshake or a connection was refused, in one line.
package struct TLSError: Error, Hashable, CustomStringConvertible, Sendable {
  /// The thing that failed.
  package enum Kind: Sendable {
    /// A file of this side: it does not exist, or is invalid. The text begins with its path.
    case file
    /// A certificate of this side that is valid, but that its check does not allow.
    case unwanted
    /// The check of the peer's certificate.
    case verification
    /// The peer has refused this side with an alert (RFC 8446, section 6.2).
    case refused
    /// The peer speaks something other than TLS.
    case notTLS
    /// The connection ended without close_notify: what came may be incomplete (RFC 8446, section 6.1).
    case truncated
    /// The system's connection.
    case system
    /// Any other violation of TLS.
    case violation
  }

  package let kind: Kind
  package let description: String

  package init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
