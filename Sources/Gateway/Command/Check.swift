import ArgumentParser
import GrpcBridge
import Logging

/// `etcd-rest check`.
struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Connect to each endpoint, and say what works and what does not.",
    discussion: """
      Nothing is written to etcd. The exit code is 0 where everything works, else 1. Flags may stand in the environment, \
      as those of serve.
      """)

  @OptionGroup var endpoints: EndpointOptions
  @OptionGroup var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions

  @Option(help: "How long a connection may take; other steps take twice as long at most. (default: 5s)")
  var dialTimeout: TimeSpan?

  func run() async throws {
    let environment = CommandEnvironment()
    let patience = try environment.value(dialTimeout, "dial-timeout", default: TimeSpan(milliseconds: 5000))
    guard patience.milliseconds > 0 else { throw ValidationError("--dial-timeout must be more than 0") }
    let configuration = try TLSConfiguration(tls, environment)
    // The files are at fault whatever the endpoints are.
    if let configuration { _ = try ClientTLS.make(configuration, logger: .silent) }
    let identity = try identity.credentials(environment)
    var clusters: Set<UInt64> = []
    var isWell = true
    for endpoint in try endpoints.source().read() {
      say("\(endpoint)")
      var check = EndpointCheck(
        endpoint, tls: configuration, identity: identity, patience: .milliseconds(Int64(patience.milliseconds)))
      for finding in await check.run() {
        say("  \(finding)")
        if finding.verdict == .bad { isWell = false }
      }
      if let cluster = check.cluster { clusters.insert(cluster) }
    }
    if clusters.count > 1 {
      isWell = false
      let names = clusters.map { String($0, radix: 16) }.sorted().joined(separator: ", ")
      say("FAIL  these are members of \(clusters.count) clusters: \(names)")
    }
    if !isWell { throw ExitCode(1) }
  }
}

extension Logger {
  static let silent = Logger(label: "etcd-rest") { _ in SwiftLogNoOpLogHandler() }
}
