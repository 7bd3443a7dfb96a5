import ArgumentParser
import Glibc
import GrpcBridge
import HTTPServer
import Logging
import ServiceLifecycle

/// `etcd-rest dev`.
struct Dev: ServingCommand {
  static let configuration = CommandConfiguration(
    abstract: "Start a new etcd and a gateway for it, to try things out.",
    discussion: "The etcd listens on free ports of the loopback interface and ends with the gateway.")

  @OptionGroup(title: "The etcd") var child: ChildOptions
  @OptionGroup(title: "Where to listen") var listener: ListenerOptions
  @OptionGroup(title: "Access") var identity: IdentityOptions
  @OptionGroup(title: "Access") var access: AccessOptions
  @OptionGroup(title: "TLS to etcd") var upstreamTLS: UpstreamTLSOptions
  @OptionGroup(title: "Times at etcd") var members: MemberOptions
  @OptionGroup(title: "Requests") var requests: RequestOptions
  @OptionGroup(title: "Streams and watches") var streams: StreamOptions
  @OptionGroup(title: "Connections of clients") var connections: ConnectionOptions
  @OptionGroup(title: "Logins") var logins: LoginOptions
  @OptionGroup(title: "Web pages") var pages: PageOptions
  @OptionGroup(title: "The process") var process: ProcessOptions
  @OptionGroup(title: "Logs") var logs: LogOptions
  @OptionGroup(title: "Traces") var tracing: TracingOptions

  func run() async throws {
    let environment = CommandEnvironment()
    var configuration = try ServeConfiguration(self, endpoints: [], environment)
    let auth = child.auth ?? environment["auth"]
    let etcd = try EtcdChild.start(
      program: child.etcd ?? environment["etcd"] ?? "etcd",
      dataDirectory: child.dataDir ?? environment["data-dir"])
    do {
      configuration.settings.endpoints = [etcd.endpoint]
      let version = try await DevSetup(endpoint: etcd.endpoint).run(rootPassword: auth, child: etcd)
      let gateway = try GatewayService(configuration, reloadsOnHangup: false) { addresses in
        advice(addresses[0], auth: auth, etcd: etcd, version: version)
      }
      // When a terminal is closed, its gateway ends, too.
      try await runServices([etcd, gateway], stoppedBy: [.sigterm, .sigint, .sighup], logger: configuration.logger)
    } catch {
      etcd.stop()
      throw error
    }
  }

  private func advice(_ address: ListenAddress, auth: String?, etcd: EtcdChild, version: String) -> String {
    let url =
      if case .unix(let path) = address.place { "--unix-socket \(path) http://localhost" } else { "\(address)" }
    let user = auth.map { "-u \("root:\($0)".shellWord) " } ?? ""
    return """

      etcd \(version) is at \(etcd.endpoint), its data in \(etcd.dataDirectory)
      Open it in a browser, or try:
        curl \(user)-X PUT -d hello \(url)/keys/greeting
        curl \(user)\(url)/keys/greeting
        curl \(user)-X DELETE \(url)/keys/greeting
      """
  }
}

/// The flags for the etcd that `dev` starts.
struct ChildOptions: ParsableArguments {
  @Option(help: "Where etcd keeps its data. (default: a temporary folder, removed at exit)")
  var dataDir: String?

  @Option(help: "The etcd program. (default: the etcd found in PATH)")
  var etcd: String?

  @Option(
    help: ArgumentHelp(
      "Turn authentication on, with this password for the user root.", valueName: "root-password"))
  var auth: String?
}
