package import Logging
package import TLS

/// The TLS of all connections to etcd, whichever thread they belong to.
package final class ClientTLS: Sendable {
  private let contexts: RenewableTLSContext
  private let serverName: String?

  /// What is used for endpoints that ask for TLS where none is configured: the system's authorities, no certificate of
  /// ours.
  package static let standard = Result { () throws(TLSError) in
    try ClientTLS(TLSConfiguration(), logger: Logger(label: "etcd-rest") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Reads the files.
  ///
  /// - Parameters:
  ///   - protocols: those to choose from (ALPN), the best one first.
  ///   - logger: hears of renewed files.
  /// - Throws: `TLSError`, in one line that says which file is at fault, of the kind `unwanted` if the certificate
  ///   has a common name that is not allowed.
  package init(
    _ configuration: TLSConfiguration, protocols: [String] = [HTTP2Session.protocolName], logger: Logger
  ) throws(TLSError) {
    serverName = configuration.serverName
    var settings = TLSSettings(.client, verification: configuration.verifiesServer ? .required : .none)
    settings.authorities = configuration.authorityFile
    settings.certificate = configuration.certificateFile
    settings.key = configuration.keyFile
    settings.protocols = protocols
    settings.minimumVersion = TLSVersion(configuration.minimumVersion)
    contexts = try RenewableTLSContext(settings) { context throws(TLSError) in
      guard !configuration.allowsCommonName, let name = context.commonName else { return }
      throw TLSError(
        .unwanted,
        "\(configuration.certificateFile ?? "the certificate"): the certificate has a common name, '\(name)', which etcd "
          + "may take for the user of calls without a token")
    } report: { look in
      switch look {
      case .renewed: logger.notice("new connections to etcd use the renewed TLS files")
      case .failed(let error):
        logger.error(
          "the renewed TLS files are invalid; the old ones stay in use", metadata: ["reason": "\(error)"])
      case .unchanged: break
      }
    }
  }

  /// Whose certificate is shown to etcd and until when it is good, for users; nil if there is none.
  package var certificate: String? { contexts.certificate }

  /// Takes the files of `other`, and what is asked of etcd's certificates, in place of its own; the name that these
  /// must be for stays.
  ///
  /// - Returns: whether that is something else than before.
  package func adopt(_ other: ClientTLS) -> Bool { contexts.adopt(other.contexts) }

  /// Leaves the files as they are now alone until they change again.
  package func ignorePresentFiles() { contexts.ignorePresentFiles() }

  /// Begins a session with a member.
  ///
  /// - Parameter isForHTTP1: whether HTTP/1 is to be spoken: then no protocol is agreed on (ALPN), as etcd offers
  ///   HTTP/2 alone, but serves both.
  package func session(
    over descriptor: Int32, to endpoint: Endpoint, forHTTP1 isForHTTP1: Bool = false
  ) -> TLSSession {
    TLSSession(
      client: contexts.current, descriptor: descriptor,
      serverName: serverName ?? (endpoint.path == nil ? endpoint.host : "localhost"),
      peer: endpoint.authority + (isForHTTP1 ? " http/1" : ""), offersProtocols: !isForHTTP1)
  }
}

extension TLSVersion {
  package init(_ version: TLSConfiguration.Version) {
    self =
      switch version {
      case .v1_2: .v1_2
      case .v1_3: .v1_3
      }
  }
}
