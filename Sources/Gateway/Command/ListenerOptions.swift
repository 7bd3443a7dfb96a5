import ArgumentParser
import HTTPServer
import TLS

/// The flags for the addresses to listen on, and their uses.
struct ListenerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where to listen, as HOST:PORT, https://HOST:PORT or unix:///PATH; port 0 takes a free port; or fd://NAME or "
        + "https+fd://NAME for sockets that systemd has opened (FileDescriptorName=). Several are separated by commas, "
        + "or the flag is repeated. (default: 127.0.0.1:8379)", valueName: "address,..."))
  var listen: [ListenAddresses] = []

  @Option(
    help: ArgumentHelp(
      "Where to serve only /metrics, /status, /livez, /readyz and /health, without TLS, as HOST:PORT, unix:///PATH or "
        + "fd://NAME; the addresses of --listen then have no /metrics. (default: none; --listen serves /metrics)",
      valueName: "address,..."))
  var adminListen: ListenAddresses?

  @Flag(
    help: """
      Share the ports of --listen and --admin-listen with other processes of the same user that set this flag, too \
      (SO_REUSEPORT), so that a new gateway can serve before the old one ends.
      """)
  var reusePort = false

  @Option(
    help: ArgumentHelp(
      "A PEM file of the certificate of https addresses, with its intermediate certificates.", valueName: "file"),
    completion: .file())
  var tlsCert: String?

  @Option(
    help: ArgumentHelp("A PEM file of the private key of --tls-cert, without a passphrase.", valueName: "file"),
    completion: .file())
  var tlsKey: String?

  @Option(
    help: ArgumentHelp(
      """
      A PEM file of the authorities (CAs) that must have issued the certificates of clients of https addresses. The \
      name in a certificate is not an etcd user. (default: none; clients need no certificate)
      """, valueName: "file"), completion: .file())
  var tlsClientCa: String?

  @Option(
    help: ArgumentHelp(
      "The minimum version of TLS for clients: 1.2 or 1.3. (default: 1.2)", valueName: "version"),
    completion: .list(["1.2", "1.3"]))
  var listenTlsMinVersion: MinimumTLSVersion?

  @Option(
    help: ArgumentHelp("How long a client's TLS handshake may take. (default: 10s)", valueName: "time"),
    transform: TimeSpan.read)
  var handshakeTimeout: TimeSpan?

  /// The addresses to listen on.
  ///
  /// - Throws: `ValidationError` if the environment's value is no list of addresses.
  func addresses(_ environment: CommandEnvironment) throws -> [ListenAddress] {
    let given = listen.isEmpty ? nil : ListenAddresses(listen.flatMap(\.list))
    let standard = ListenAddresses([ListenAddress(.tcp(host: "127.0.0.1", port: 8379))])
    return try environment.value(given, "listen", default: standard).list
  }

  /// The addresses that serve metrics and probes to operators; empty if the ordinary addresses do.
  ///
  /// - Throws: `ValidationError` if an address has TLS or the PROXY protocol, which are not supported there.
  func adminAddresses(_ environment: CommandEnvironment) throws -> [ListenAddress] {
    try environment.value(adminListen, "admin-listen", default: ListenAddresses([])).list.map { address in
      guard !address.isTLS, !address.isProxied else {
        throw ValidationError(
          "--admin-listen \(address): it takes HOST:PORT, unix:///PATH and fd://NAME, neither https nor proxy+")
      }
      return ListenAddress(address.place, isAdmin: true)
    }
  }

  /// The TLS settings for https addresses; nil if there are none.
  ///
  /// - Throws: `ValidationError` if a setting is missing, or would have no effect.
  func tls(for addresses: [ListenAddress], _ environment: CommandEnvironment) throws -> TLSSettings? {
    let certificate = tlsCert ?? environment["tls-cert"]
    let key = tlsKey ?? environment["tls-key"]
    let authorities = tlsClientCa ?? environment["tls-client-ca"]
    guard let address = addresses.first(where: \.isTLS) else {
      // A user who configures a certificate does not want to serve without TLS.
      if certificate != nil || key != nil || authorities != nil {
        throw ValidationError("--tls-cert, --tls-key and --tls-client-ca need an https:// address in --listen")
      }
      return nil
    }
    guard let certificate, let key else {
      throw ValidationError("--listen \(address) needs --tls-cert and --tls-key")
    }
    var settings = TLSSettings(.server, verification: authorities == nil ? .none : .required)
    settings.certificate = certificate
    settings.key = key
    settings.authorities = authorities
    settings.protocols = ["http/1.1", "http/1.0"]
    let least = try environment.value(
      listenTlsMinVersion, "listen-tls-min-version", default: MinimumTLSVersion(.v1_2))
    settings.minimumVersion = TLSVersion(least.version)
    return settings
  }
}

/// The addresses in one flag, separated by commas.
struct ListenAddresses: ExpressibleByArgument, Sendable {
  let list: [ListenAddress]

  init(_ list: [ListenAddress]) { self.list = list }

  /// Nil if any of them is malformed.
  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    list = parts.compactMap { ListenAddress($0.drop { $0 == " " }) }
    if list.count != parts.count { return nil }
  }
}
