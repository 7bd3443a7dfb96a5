import Foundation
import Synchronization

/// A member of etcd for one test. See `withEtcd` and `withEtcdCluster`.
package final class EtcdProcess: Sendable {
  package let version: EtcdVersion
  package let name: String
  /// Where clients connect: `http://127.0.0.1:PORT`, or its place's address; etcd's own JSON gateway is there too.
  package let url: String
  package let peerURL: String
  /// The settings and the port for clients that use TLS, over both IPv4 and IPv6.
  package let tls: (settings: EtcdTLS, port: UInt16)?
  private let host: String
  private let arguments: [String]
  private let directory: String
  private let place: ClusterNetwork.Place?
  private let process = Mutex<ChildProcess?>(nil)

  init(
    _ version: EtcdVersion, name: String, directory: String, ports: [UInt16], arguments: [String],
    place: ClusterNetwork.Place? = nil, tls: EtcdTLS? = nil
  ) {
    self.version = version
    self.name = name
    self.directory = directory
    self.arguments = arguments
    self.place = place
    self.tls = tls.map { ($0, ports[2]) }
    host = place?.address ?? "127.0.0.1"
    url = "http://\(host):\(ports[0])"
    peerURL = "http://\(host):\(ports[1])"
  }

  /// The path of a Unix socket that serves clients like ``url``.
  package var socketPath: String { "\(directory)/\(socketName)" }
  /// etcd only accepts `NAME:PORT`, relative to its working directory.
  private var socketName: String { "\(name):0" }
  /// Where clients that use TLS connect, by another name or address of its host if one is given; empty if there is no
  /// TLS.
  package func secureURL(_ name: String? = nil) -> String { tls.map { "https://\(name ?? host):\($0.port)" } ?? "" }

  /// Calls of etcd's own HTTP side: its JSON gateway, `/health`, `/metrics`.
  package var http: HTTPClient { HTTPClient(url) }
  package var pid: Int32? { process.withLock { $0?.pid } }
  /// What etcd has logged so far.
  package var log: String { process.withLock { $0?.errorOutput } ?? "" }

  // MARK: Life

  /// Starts etcd, with its old data if it ran before, and returns when it is healthy (so it has a leader).
  /// - Throws: `TestSupportError` with the end of etcd's log; `isPortTaken` says whether binding has failed.
  package func start(within limit: Duration = suiteLimit) async throws {
    try await launch()
    try await awaitHealth(within: limit)
  }

  /// Starts etcd and returns at once.
  package func launch() async throws {
    let commonArguments = [
      "--name", name, "--data-dir", "\(directory)/data",
      "--listen-client-urls", listeners.joined(separator: ","), "--advertise-client-urls", url,
      "--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL,
      "--logger", "zap", "--log-outputs", "stderr", "--bcrypt-cost", "4",
    ]
    // etcd 3.4 does not take over one that it left behind when it was killed.
    try? FileManager.default.removeItem(atPath: socketPath)
    let secure = tls?.settings.arguments ?? []
    let noSync = version == .v3_4 ? [] : ["--unsafe-no-fsync"]
    let child = try await ChildProcess.start(
      try version.program("etcd"), commonArguments + secure + noSync + arguments, in: place?.namespace,
      directory: directory,
      output: "\(directory)/output", error: "\(directory)/log")
    process.withLock { $0 = child }
  }

  private var listeners: [String] {
    let secure = place == nil ? [secureURL(), secureURL("[::1]")] : [secureURL()]
    return [url, "unix://\(socketName)"] + (tls == nil ? [] : secure)
  }

  /// Calls over the Unix socket, which is this etcd's for certain: at its port another one may answer while this one is
  /// about to end because the port is taken. No etcd serves before it has all its addresses.
  private var ownHTTP: HTTPClient { HTTPClient("unix://\(socketPath)") }

  /// Returns when `/health` says so.
  package func awaitHealth(within limit: Duration = suiteLimit) async throws {
    _ = try await eventually("healthy etcd at \(url)", within: limit, every: .milliseconds(20)) { () -> Bool? in
      if let exit = process.withLock({ $0?.exited }) {
        throw TestSupportError("etcd ended (\(exit)): \(log.suffix(600))")
      }
      return (try? await ownHTTP.get("/health"))?.status == 200 ? true : nil
    }
  }

  /// Returns when etcd answers at all: a member that is no voter yet is not healthy.
  package func awaitAnswers(within limit: Duration = suiteLimit) async throws {
    _ = try await eventually("answer of etcd at \(url)", within: limit) {
      try? await ownHTTP.post("/v3/maintenance/status")
    }
  }

  /// Ends etcd properly (SIGTERM). The data and the ports stay for `start`.
  package func stop() async throws {
    guard let child = process.withLock({ $0 }) else { return }
    child.signal(SIGTERM)
    _ = try await child.exit()
  }

  /// Ends etcd at once (SIGKILL). The data and the ports stay for `start`.
  package func kill() async {
    await process.withLock { $0 }?.killAndWait()
  }

  /// Ends etcd properly and starts it again on the same data and ports.
  package func restart() async throws {
    try await stop()
    try await start()
  }

  /// Freezes etcd (SIGSTOP): its sockets stay open and nothing answers. Returns once all its threads have stopped.
  package func pause() {
    guard let process = process.withLock({ $0 }) else { return }
    process.signal(SIGSTOP)
    while !process.isFrozen { sched_yield() }
  }

  /// Continues a frozen etcd (SIGCONT).
  package func resume() {
    process.withLock { $0 }?.signal(SIGCONT)
  }

  /// Whether the last start failed because another process has one of the ports.
  var isPortTaken: Bool { log.contains("address already in use") }

  // MARK: Looking and arranging

  /// The sum of a metric's samples that carry all of `labels`; zero before the first.
  ///
  /// How often etcd was asked to log a user in: `metric("grpc_server_started_total", ["grpc_method": "Authenticate"])`.
  package func metric(_ name: String, _ labels: [String: String] = [:]) async throws -> Double {
    let response = try await http.get("/metrics")
    guard response.status == 200 else { throw TestSupportError("GET /metrics: \(response)") }
    // The very first line is a comment.
    return response.body.lines(beginningWith: name).reduce(0) { sum, line in
      guard let blank = line.lastIndex(of: " "), line.prefix(while: { $0 != "{" && $0 != " " }) == name,
        labels.allSatisfy({ line.contains("\($0.key)=\"\($0.value)\"") })
      else { return sum }
      return sum + (Double(line[line.index(after: blank)...]) ?? 0)
    }
  }

  /// How many calls of a method etcd has received, by gRPC or its own gateway.
  package func callsStarted(of method: String) async throws -> Int {
    Int(try await metric("grpc_server_started_total", ["grpc_method": method]))
  }

  /// Calls etcd's own JSON gateway and expects success.
  @discardableResult
  package func call(_ path: String, _ body: JSON = [:], token: String? = nil) async throws -> JSON {
    let response = try await http.post(path, body, headers: token.map { [("Authorization", $0)] } ?? [])
    guard response.status == 200 else { throw TestSupportError("\(path) \(body): \(response)") }
    return try response.json
  }

  /// Adds the user and the role root and switches authentication on.
  package func enableAuth(rootPassword: String) async throws {
    try await call("/v3/auth/user/add", ["name": "root", "password": .string(rootPassword)])
    try await call("/v3/auth/role/add", ["name": "root"])
    try await call("/v3/auth/user/grant", ["user": "root", "role": "root"])
    try await call("/v3/auth/enable")
  }

  /// A token of etcd's for a user.
  package func token(user: String, password: String) async throws -> String {
    let response = try await call("/v3/auth/authenticate", ["name": .string(user), "password": .string(password)])
    guard let token = response["token"]?.string else { throw TestSupportError("no token in \(response)") }
    return token
  }

  /// Runs etcdctl of the same version against this member and returns its output.
  /// - Throws: `TestSupportError` with its error if it fails.
  @discardableResult
  package func etcdctl(_ arguments: String...) async throws -> String {
    let child = try await startEtcdctl(arguments)
    guard try await child.exit() == .code(0) else {
      throw TestSupportError("etcdctl \(arguments.joined(separator: " ")): \(child.errorOutput)")
    }
    return child.output
  }

  /// Starts etcdctl of the same version against this member. Its output goes with this member's folder.
  package func startEtcdctl(_ arguments: [String]) async throws -> ChildProcess {
    let files = "\(directory)/etcdctl-\(UInt64.random(in: 0 ... .max))"
    return try await ChildProcess.start(
      try version.program("etcdctl"), ["--endpoints", url] + arguments, environment: ["ETCDCTL_API": "3"],
      output: files + ".out", error: files + ".err")
  }
}

/// How an etcd serves clients that use TLS, beside those that do not.
package struct EtcdTLS: Sendable {
  /// Its certificate: etcd reads the files again for each connection.
  package var server: TestAuthority.Files
  /// The file of the authorities that must have signed clients' certificates; nil if clients need none.
  package var clientAuthorities: String?

  package init(_ server: TestAuthority.Files, clientAuthorities: String? = nil) {
    self.server = server
    self.clientAuthorities = clientAuthorities
  }

  fileprivate var arguments: [String] {
    ["--cert-file", server.certificate, "--key-file", server.key]
      + (clientAuthorities.map { ["--client-cert-auth", "--trusted-ca-file", $0] } ?? [])
  }
}
