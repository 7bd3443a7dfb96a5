import ArgumentParser
import GrpcBridge
import Logging

/// `etcd-rest check`.
struct Check: AsyncParsableCommand, ClientOwner {
  static let configuration = CommandConfiguration(
    abstract: "Connect to each endpoint, and report what works and what does not.",
    discussion: """
      All endpoints are checked at once. Nothing is written to etcd. The exit code is 0 if everything works, else 1. \
      Flags can be set in the environment, as those of serve.
      """)

  @OptionGroup(title: "etcd") var endpoints: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions

  @Option(
    help: ArgumentHelp(
      "How long a connection may take; other steps take twice as long at most. (default: 5s)", valueName: "time"),
    transform: TimeSpan.read)
  var dialTimeout: TimeSpan?

  func run() async throws {
    let environment = CommandEnvironment()
    let patience = try environment.value(dialTimeout, "dial-timeout", default: TimeSpan(milliseconds: 5000))
    guard patience.milliseconds > 0 else { throw ValidationError("--dial-timeout must be more than 0") }
    let configuration = try TLSConfiguration(tls, environment)
    // A fault of the files is an error whatever the endpoints are.
    if let configuration { _ = try ClientTLS.make(configuration, logger: .silent) }
    let identity = try identity.credentials(environment)
    let endpoints = try endpoints.source(environment).read()
    var clusters: Set<UInt64> = []
    var failed = 0
    for await (endpoint, findings, cluster) in Self.looks(at: endpoints, configuration, identity, patience) {
      say("\(endpoint)")
      for finding in findings { say("  \(finding)") }
      if findings.contains(where: { $0.verdict == .bad }) { failed += 1 }
      if let cluster { clusters.insert(cluster) }
    }
    if clusters.count > 1 {
      let names = clusters.map { String($0, radix: 16) }.sorted().joined(separator: ", ")
      say("FAIL  these are members of \(clusters.count) clusters: \(names)")
    }
    if failed > 0 { say("\(failed) of \(endpoints.count) endpoints failed") }
    if failed > 0 || clusters.count > 1 { throw ExitCode(1) }
  }

  private typealias Look = (endpoint: Endpoint, findings: [EndpointCheck.Finding], cluster: UInt64?)

  /// Checks all endpoints at once, and reports them in their order, each as soon as possible.
  private static func looks(
    at endpoints: [Endpoint], _ tls: TLSConfiguration?, _ identity: BasicCredentials?, _ patience: TimeSpan
  ) -> AsyncStream<Look> {
    AsyncStream { stream in
      Task {
        await withTaskGroup(of: (Int, Look).self) { group in
          for (index, endpoint) in endpoints.enumerated() {
            group.addTask {
              var check = EndpointCheck(
                endpoint, tls: tls, identity: identity, patience: .milliseconds(Int64(clamping: patience.milliseconds)))
              let findings = await check.run()
              return (index, (endpoint, findings, check.cluster))
            }
          }
          var seen: [Int: Look] = [:]
          var next = 0
          for await (index, look) in group {
            seen[index] = look
            while let look = seen.removeValue(forKey: next) {
              stream.yield(look)
              next += 1
            }
          }
        }
        stream.finish()
      }
    }
  }
}

extension Logger {
  static let silent = Logger(label: "etcd-rest") { _ in SwiftLogNoOpLogHandler() }
}
