package import Logging
package import TLS

/// The TLS of all connections to etcd, on all threads.
package final class ClientTLS: Sendable {
  private let contexts: RenewableTLSContext
  private let serverName: String?

  /// The TLS for endpoints that ask for it if none is configured: with the system's authorities, and without a client
  /// certificate.
  package static let standard = Result { () throws(TLSError) in
    try ClientTLS(TLSConfiguration(), logger: Logger(label: "etcd-rest") { _ in SwiftLogNoOpLogHandler() })
  }

  /// Reads the files.
  ///
  /// - Parameters:
  ///   - protocols: the protocols to offer (ALPN), the best one first.
  ///   - logger: for reports about renewed files.
  /// - Throws: `TLSError`, in one line that names the file at fault. Its kind is `unwanted` if the certificate has a
  ///   common name that is not allowed.
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

  /// The subject of the client certificate, and until when it is valid, for users; nil if there is none.
  package var certificate: String? { contexts.certificate }

  /// Replaces the files, and the demands on certificates of etcd, by those of `other`. The name that these must have
  /// stays.
  ///
  /// - Returns: whether they differ from the earlier ones.
  package func adopt(_ other: ClientTLS) -> Bool { contexts.adopt(other.contexts) }

  /// Ignores the files as they are now until they change again.
  package func ignorePresentFiles() { contexts.ignorePresentFiles() }

  /// Begins a session with a member.
  ///
  /// - Parameter isForHTTP1: whether the session is for HTTP/1. Then no protocol is offered (ALPN), as etcd offers
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
