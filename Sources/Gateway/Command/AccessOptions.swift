import ArgumentParser
import HTTPServer

/// The flags for trusted proxies and allowed hosts and origins.
struct AccessOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The reverse proxies that the gateway trusts to name the client of a request, by Forwarded, X-Forwarded-For, "
        + "-Proto and -Host, or on proxy+ addresses by the PROXY protocol: addresses, ranges such as 10.0.0.0/8, or "
        + "unix for all clients of a Unix socket; several are separated by commas. (default: none)",
      valueName: "cidr,..."))
  var trustedProxies: TrustedProxies?

  @Option(
    help: ArgumentHelp(
      "The host names that requests without credentials may use (all requests if etcd's authentication is off), "
        + "besides IP addresses and names without a dot; several are separated by commas. * allows every name: then "
        + "every web page may use what needs no credentials, by DNS rebinding. (default: none)", valueName: "host,..."))
  var allowedHosts: AllowedHosts?

  func proxies(_ environment: CommandEnvironment, listen: [ListenAddress]) throws -> TrustedProxies {
    let proxies = try environment.value(trustedProxies, "trusted-proxies", default: TrustedProxies())
    if proxies.isEmpty, let address = listen.first(where: \.isProxied) {
      throw ValidationError(
        "--listen \(address) needs --trusted-proxies: the addresses of the proxies that connect there")
    }
    return proxies
  }

  func hosts(_ environment: CommandEnvironment) throws -> AllowedHosts {
    try environment.value(allowedHosts, "allowed-hosts", default: AllowedHosts())
  }
}

extension TrustedProxies: ExpressibleByArgument {
  init?(argument: String) { self.init(argument) }
}

extension AllowedHosts: ExpressibleByArgument {
  init?(argument: String) { self.init(argument) }
}
