import Foundation
import TLS
import TestSupport

/// A gateway that serves over TLS beside its plain address, and the authority that has issued its certificate.
struct SecureGateway {
  let gateway: GatewayProcess
  let authority: TestAuthority
  let directory: String

  /// The plain address.
  var plain: String { gateway.urls[0] }
  /// `https://127.0.0.1:PORT`.
  var url: String { gateway.urls[1] }

  /// The TLS context of a client that trusts the authority.
  ///
  /// - Parameters:
  ///   - trusting: the file of other authorities to trust instead; `nil` for a client that trusts every server.
  ///   - certificate: the client's own certificate.
  func client(
    trusting authorities: String? = "", certificate: TestAuthority.Files? = nil, protocols: [String] = ["http/1.1"]
  ) throws -> TLSContext {
    var settings = TLSSettings(.client, verification: authorities == nil ? .none : .required)
    settings.authorities = authorities == "" ? authority.certificate : authorities
    settings.certificate = certificate?.certificate
    settings.key = certificate?.key
    settings.protocols = protocols
    return try TLSContext(settings)
  }

  /// A connection of a client that trusts the authority.
  func connect(_ context: TLSContext? = nil) async throws -> HTTPConnection {
    try await HTTPConnection.connect(to: url, tls: try context ?? client())
  }
}

/// Runs `body` with a gateway that also serves over TLS; the task's connections to `https://` trust its authority.
///
/// - Parameters:
///   - validity: the validity of the gateway's certificate.
///   - isMutual: whether clients need a certificate of the same authority.
func withSecureGateway<Value>(
  _ endpoints: [String], _ arguments: [String] = [], validity: TestAuthority.Validity = .current,
  isMutual: Bool = false, isolation: isolated (any Actor)? = #isolation, _ body: (SecureGateway) async throws -> Value
) async throws -> Value {
  try await withTemporaryDirectory { directory in
    let authority = try TestAuthority(in: directory)
    let files = try authority.issue("server", validity: validity)
    var flags = [
      "--listen", "127.0.0.1:0,https://127.0.0.1:0", "--tls-cert", files.certificate, "--tls-key", files.key,
      "--log-level", "debug",
    ]
    if isMutual { flags += ["--tls-client-ca", authority.certificate] }
    return try await withGateway(endpoints, flags + arguments) { gateway in
      let secure = SecureGateway(gateway: gateway, authority: authority, directory: directory)
      return try await HTTPConnection.$tls.withValue(try secure.client()) { try await body(secure) }
    }
  }
}
