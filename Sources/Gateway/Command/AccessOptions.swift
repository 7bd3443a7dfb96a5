import ArgumentParser
import HTTPServer

/// The flags that say which proxies and which names are believed.
struct AccessOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The reverse proxies that are believed when they say whom they pass a request on for, by Forwarded, "
        + "X-Forwarded-For, -Proto and -Host, or on proxy+ addresses by the PROXY protocol: addresses, ranges such as "
        + "10.0.0.0/8, or unix for whoever connects to a Unix socket; several are separated by commas. (default: none)",
      valueName: "cidr,..."))
  var trustedProxies: TrustedProxies?

  @Option(
    help: ArgumentHelp(
      "The host names, besides addresses in numbers and names without a dot, by which requests may ask for this "
        + "gateway that have no credentials, or any where etcd has no authentication; several are separated by commas. * stands for any: then any page may use, by a name "
        + "of its own, what needs no credentials. (default: none)", valueName: "host,..."))
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
