/// Why a WebSocket is closed (RFC 6455, section 7.4).
package struct WebSocketCloseCode: RawRepresentable, Hashable, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// The purpose of the connection has been fulfilled.
  package static let normal = Self(rawValue: 1000)
  /// The gateway is about to end.
  package static let goingAway = Self(rawValue: 1001)
  /// The peer broke the protocol.
  static let protocolError = Self(rawValue: 1002)
  /// A message of a kind that is not supported: a binary one.
  static let unsupportedData = Self(rawValue: 1003)
  /// A message with invalid content: a text that is not UTF-8, or not the JSON of a request.
  package static let invalidData = Self(rawValue: 1007)
  /// A reason without a code of its own: credentials that do not suffice, a client that does not read.
  package static let policyViolation = Self(rawValue: 1008)
  /// The message is larger than the limit.
  package static let tooLarge = Self(rawValue: 1009)
  /// The stream ended with an error.
  package static let internalError = Self(rawValue: 1011)
  /// The stream ended for a reason that will pass: etcd or a leader is away, or the load is too high (of IANA's
  /// registry).
  package static let tryAgainLater = Self(rawValue: 1013)

  /// Whether a peer may send the code: one that the RFC or its registry (IANA, "WebSocket Close Code Number") allows on
  /// the wire, or one of those left to libraries and applications.
  var mayBeReceived: Bool {
    switch rawValue {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }
}
