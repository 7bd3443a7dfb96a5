import GrpcBridge

/// The URL of an OpenTelemetry collector that takes traces over HTTP: the base URL of its API (OpenTelemetry protocol
/// exporter, `OTEL_EXPORTER_OTLP_ENDPOINT`); traces are sent to `/v1/traces` below it.
struct CollectorURL: DescribedArgument, Sendable, CustomStringConvertible {
  static let form =
    "http://HOST[:PORT] or https://HOST[:PORT], perhaps with a path, without a user, a query or a fragment"

  let endpoint: Endpoint
  /// The path that traces are sent to.
  let path: String
  /// The host as in requests, with the port unless that is the scheme's default.
  let authority: String
  let description: String

  var isSecure: Bool { endpoint.security == .tls }

  init?(argument: String) {
    let schemes = [("http://", 80), ("https://", 443)]
    guard argument.utf8.count <= 2048, argument.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
      !argument.utf8.contains(where: { "@?#\"<>\\".utf8.contains($0) }),
      let (scheme, standardPort) = schemes.first(where: { argument.hasPrefix($0.0) })
    else { return nil }
    let rest = argument.dropFirst(scheme.utf8.count)
    var authority = rest.prefix { $0 != "/" }
    // An IPv6 address in brackets has colons of its own.
    let hasPort = (authority.hasPrefix("[") ? authority.drop { $0 != "]" } : authority).utf8.contains(UInt8(ascii: ":"))
    guard let endpoint = try? Endpoint(hasPort ? scheme + authority : "\(scheme)\(authority):\(standardPort)") else {
      return nil
    }
    self.endpoint = endpoint
    if hasPort && Int(endpoint.port) == standardPort {
      authority = authority.dropLast(1 + "\(standardPort)".utf8.count)
    }
    self.authority = String(authority)
    var base = rest.drop { $0 != "/" }
    while base.hasSuffix("/") { base.removeLast() }
    path = base + "/v1/traces"
    description = argument
  }
}

/// A share, from 0 to 1.
struct Share: DescribedArgument, Sendable {
  static let form = "a number from 0 to 1 such as 0.01"

  let value: Double

  init(_ value: Double) { self.value = value }

  init?(argument: String) {
    guard let value = Double(decimal: argument), value <= 1 else { return nil }
    self.value = value
  }
}
