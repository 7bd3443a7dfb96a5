/// How connections to etcd are secured (TLS). The files are read again, without a restart, when they have changed: new
/// connections are made with what is in them then, and those that exist go on.
public struct TLSConfiguration: Sendable, Hashable {
  /// A version of TLS.
  public enum Version: String, Sendable, CaseIterable {
    case v1_2 = "1.2"
    case v1_3 = "1.3"
  }

  /// A PEM file of the authorities that may have signed the certificates of etcd; nil, the default, for the system's.
  public var authorityFile: String?
  /// A PEM file of the certificate to show to etcd, followed by those between it and an authority; nil, the default,
  /// for none.
  public var certificateFile: String?
  /// The PEM file of the certificate's private key, which must not have a passphrase; nil, the default, where it is in
  /// ``certificateFile``.
  public var keyFile: String?
  /// The name or address that the certificates of etcd must be for, whatever the endpoint is called; nil, the default,
  /// for that of the endpoint (`localhost` for a Unix socket).
  public var serverName: String?
  /// Whether the certificates of etcd are checked. Without (the default is with) an attacker on the network can read
  /// and change everything.
  public var verifiesServer = true
  /// The least version; 1.2 by default.
  public var minimumVersion = Version.v1_2
  /// Whether our certificate may have a common name; false by default. etcd with authentication takes it for the user
  /// of calls that come without a token, unless they say that they come from a gateway, as ours do.
  public var allowsCommonName = false

  public init() {}
}
