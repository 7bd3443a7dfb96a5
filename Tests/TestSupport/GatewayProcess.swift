import Foundation
import TLS

/// The built `etcd-rest`, serving. See `withGateway`.
package final class GatewayProcess: Sendable {
  /// Where it serves, as it printed it: `http://127.0.0.1:PORT`, then its other addresses.
  package let urls: [String]
  /// The process: its signals, memory, descriptors and output.
  package let process: ChildProcess

  package var url: String { urls[0] }
  /// Host and port of ``url``.
  package var authority: String { url.split(separator: "/").last.map(String.init) ?? url }

  private init(urls: [String], process: ChildProcess) {
    self.urls = urls
    self.process = process
  }

  package var http: HTTPClient { HTTPClient(url) }

  /// Returns when the gateway accepts no more connections.
  package func awaitEndOfListening() async throws {
    _ = try await eventually("end of listening") { () -> Bool? in
      do {
        _ = try await http.get("/livez")
        return nil
      } catch is HTTPFailure {
        return true
      } catch is TLSError {
        return true
      }
    }
  }

  /// What the gateway has logged so far. Lines are written by a separate thread, a little later than they are made.
  package var log: String { process.errorOutput }

  /// Waits until the gateway has logged `text`.
  package func expectLogged(_ text: String) async throws {
    _ = try await eventually("'\(text)' in the log") { log.contains(text) ? true : nil }
  }

  /// The program in the environment's `TESTED_GATEWAY`; otherwise the executable that SwiftPM puts beside the test
  /// executable that is running.
  package static var program: String {
    get throws {
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let sibling = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("etcd-rest").path
      let path = ProcessInfo.processInfo.environment["TESTED_GATEWAY"] ?? sibling
      guard access(path, X_OK) == 0 else {
        throw TestSupportError("no \(path): run `swift build --product etcd-rest` first, or set TESTED_GATEWAY")
      }
      return path
    }
  }

  /// The environment unless a test has its own.
  private static let environment = [
    // A client that is slow because the machine is busy is served all the same.
    "ETCD_REST_HANDSHAKE_TIMEOUT": "10m", "ETCD_REST_HEADER_TIMEOUT": "10m", "ETCD_REST_MIN_BODY_RATE": "0",
    "ETCD_REST_REQUEST_TIMEOUT": "5m",
    // So is an etcd that is slow to accept a connection.
    "ETCD_REST_DIAL_TIMEOUT": "20s",
    // If the gateway crashes, its log has the reason and the guilty thread, without pages of registers and images.
    "SWIFT_BACKTRACE": "color=no,registers=none,images=none,threads=crashed,limit=16,sanitize=yes",
  ]

  /// Starts `etcd-rest` with these arguments and returns when it reports where it serves.
  /// - Throws: `TestSupportError` with its output if it ends instead.
  static func start(
    _ arguments: [String], environment: [String: String], in directory: String
  ) async throws -> GatewayProcess {
    let process = try await ChildProcess.start(
      try program, arguments, environment: Self.environment.merging(environment) { $1 },
      output: "\(directory)/output", error: "\(directory)/log")
    do {
      let urls = try await eventually("line saying where etcd-rest is serving") {
        if let urls = servingURLs(in: process.output) { return urls }
        if let exit = process.exited {
          throw TestSupportError("etcd-rest ended (\(exit)): \(process.output)\(process.errorOutput)")
        }
        return nil
      }
      return GatewayProcess(urls: urls, process: process)
    } catch {
      await process.killAndWait()
      throw error
    }
  }

  /// Ends the gateway properly.
  /// - Throws: `TestSupportError` unless it exits with code 0 within `limit`.
  package func stop(within limit: Duration = suiteLimit) async throws {
    process.signal(SIGTERM)
    let exit = try await process.exit(within: limit)
    guard exit == .code(0) else { throw TestSupportError("etcd-rest ended (\(exit)) on SIGTERM: \(log.suffix(4000))") }
  }
}

/// Runs `body` with a gateway in front of `endpoints`, then ends it with SIGTERM and expects a clean exit.
///
/// If the environment of the tests has `OVER_TLS`, its first address has TLS, for which connections of the task are
/// prepared: what is true over HTTP has to be so over HTTPS.
/// - Parameters:
///   - endpoints: client URLs of etcd; none if `arguments` name them.
///   - arguments: more arguments of `etcd-rest serve`; without `--listen` among them it gets a free port of 127.0.0.1.
///   - environment: more environment variables.
/// - Throws: what `body` throws; `TestSupportError` if the gateway does not start, dies meanwhile or does not end
///   properly.
package func withGateway<Value>(
  _ endpoints: [String], _ arguments: [String] = [], environment: [String: String] = [:],
  isolation: isolated (any Actor)? = #isolation, _ body: (GatewayProcess) async throws -> Value
) async throws -> Value {
  try await Turnstile.throughProcesses {
    try await withTemporaryDirectory { directory in
      let hasListener = arguments.contains("--listen")
      let secure = try isOverTLS && !hasListener ? SecureListener(in: directory) : nil
      let serve = ["serve"] + (endpoints.isEmpty ? [] : ["--endpoints", endpoints.joined(separator: ",")])
      let listen = secure?.arguments ?? (hasListener ? [] : ["--listen", "127.0.0.1:0"])
      let gateway = try await GatewayProcess.start(serve + listen + arguments, environment: environment, in: directory)
      return try await finally {
        let value =
          if let secure {
            try await HTTPConnection.$tls.withValue(secure.client) { try await body(gateway) }
          } else {
            try await body(gateway)
          }
        if let exit = gateway.process.exited, exit != .code(0) {
          throw TestSupportError("etcd-rest ended (\(exit)) during the test: \(gateway.log.suffix(4000))")
        }
        try await gateway.stop()
        return value
      } cleanup: {
        await gateway.process.killAndWait()
      }
    }
  }
}

private let isOverTLS = ProcessInfo.processInfo.environment["OVER_TLS"] != nil

/// What a gateway and its clients need for TLS.
private struct SecureListener {
  let arguments: [String]
  let client: TLSContext

  init(in directory: String) throws {
    let authority = try TestAuthority("listener-ca", in: directory)
    let files = try authority.issue("listener")
    arguments = ["--listen", "https://127.0.0.1:0", "--tls-cert", files.certificate, "--tls-key", files.key]
    var settings = TLSSettings(.client, verification: .required)
    settings.authorities = authority.certificate
    settings.protocols = ["http/1.1"]
    client = try TLSContext(settings)
  }
}

/// Runs `etcd-rest` with these arguments until it ends by itself.
/// - Throws: `TestSupportError` if it does not end; then it was killed.
package func runGateway(
  _ arguments: [String], environment: [String: String] = [:], within limit: Duration = suiteLimit
) async throws -> (exit: ChildProcess.Exit, output: String, errorOutput: String) {
  try await withTemporaryDirectory { directory in
    let process = try await ChildProcess.start(
      try GatewayProcess.program, arguments, environment: environment, output: "\(directory)/output",
      error: "\(directory)/log")
    return try await finally {
      let exit = try await process.exit(within: limit)
      return (exit, process.output, process.errorOutput)
    } cleanup: {
      await process.killAndWait()
    }
  }
}

/// Runs `body` with a fresh etcd and a gateway in front of it.
package func withEtcdAndGateway<Value>(
  _ version: EtcdVersion, etcd etcdArguments: [String] = [], gateway arguments: [String] = [],
  isolation: isolated (any Actor)? = #isolation, _ body: (EtcdProcess, GatewayProcess) async throws -> Value
) async throws -> Value {
  try await withEtcd(version, etcdArguments) { etcd in
    try await withGateway([etcd.url], arguments) { gateway in try await body(etcd, gateway) }
  }
}

/// The URLs after "is serving on" in a whole line, as `etcd-rest` prints it once it listens.
private func servingURLs(in output: String) -> [String]? {
  for line in output.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
    if let range = line.range(of: " is serving on ") {
      return line[range.upperBound...].replacing(" (admin)", with: "").components(separatedBy: ", ")
    }
  }
  return nil
}
