/// How connections to etcd are secured (TLS). If the files change, new connections use the new content without a
/// restart; existing connections continue.
public struct TLSConfiguration: Sendable, Hashable {
  /// A version of TLS.
  public enum Version: String, Sendable, CaseIterable {
    case v1_2 = "1.2"
    case v1_3 = "1.3"
  }

  /// A PEM file of the authorities that may have signed the certificates of etcd; nil, the default, for the system's.
  public var authorityFile: String?
  /// A PEM file of the certificate to present to etcd, followed by those between it and an authority; nil, the default,
  /// for none.
  public var certificateFile: String?
  /// The PEM file of the certificate's private key, which must not have a passphrase; nil, the default, if the key is
  /// in ``certificateFile``.
  public var keyFile: String?
  /// The name or address for which etcd's certificates must be valid, whatever the endpoint is called; nil, the
  /// default, for the endpoint's (`localhost` for a Unix socket).
  public var serverName: String?
  /// Whether etcd's certificates are verified; true by default. Without, an attacker on the network can read and change
  /// everything.
  public var verifiesServer = true
  /// The minimum version; 1.2 by default.
  public var minimumVersion = Version.v1_2
  /// Whether our certificate may have a common name; false by default. With authentication on, etcd takes it for the
  /// user of calls without a token, unless a call says that it comes from a gateway, as all calls of this client do.
  public var allowsCommonName = false

  public init() {}
}
