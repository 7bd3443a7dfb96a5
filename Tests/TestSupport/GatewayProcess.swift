import Foundation

/// The built `etcd-rest`, serving. See `withGateway`.
package final class GatewayProcess: Sendable {
  /// `http://127.0.0.1:PORT`, as the gateway printed it.
  package let url: String
  /// The process: its signals, memory, descriptors and output.
  package let process: ChildProcess

  private init(url: String, process: ChildProcess) {
    self.url = url
    self.process = process
  }

  package var http: HTTPClient { HTTPClient(url) }

  /// Returns when the gateway takes no more connections.
  package func awaitEndOfListening() async throws {
    _ = try await eventually("end of listening") { () -> Bool? in
      do {
        _ = try await http.get("/livez")
        return nil
      } catch is HTTPFailure {
        return true
      }
    }
  }

  /// What the gateway has logged so far.
  package var log: String { process.errorOutput }

  /// Where SwiftPM puts the executable: beside the test executable that is running.
  package static var program: String {
    get throws {
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let path = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("etcd-rest").path
      guard access(path, X_OK) == 0 else { throw TestSupportError("no \(path): run `swift build` first") }
      return path
    }
  }

  /// Starts `etcd-rest` with these arguments and returns when it says where it is serving.
  /// - Throws: `TestSupportError` with its output where it ends instead.
  static func start(
    _ arguments: [String], environment: [String: String], in directory: String
  ) async throws -> GatewayProcess {
    // Should it crash, its log has the reason and the guilty thread, without pages of registers and images.
    let backtrace = "color=no,registers=none,images=none,threads=crashed,limit=16,sanitize=yes"
    let process = try await ChildProcess.start(
      try program, arguments, environment: environment.merging(["SWIFT_BACKTRACE": backtrace]) { given, _ in given },
      output: "\(directory)/output", error: "\(directory)/log")
    do {
      let url = try await eventually("line saying where etcd-rest is serving", within: .seconds(20)) {
        if let url = servingURL(in: process.output) { return url }
        if let exit = process.exited {
          throw TestSupportError("etcd-rest ended (\(exit)): \(process.output)\(process.errorOutput)")
        }
        return nil
      }
      return GatewayProcess(url: url, process: process)
    } catch {
      await process.killAndWait()
      throw error
    }
  }

  /// Ends the gateway in good order.
  /// - Throws: `TestSupportError` unless it exits with code 0 within `limit`.
  package func stop(within limit: Duration = .seconds(10)) async throws {
    process.signal(SIGTERM)
    let exit = try await process.exit(within: limit)
    guard exit == .code(0) else { throw TestSupportError("etcd-rest ended (\(exit)) on SIGTERM: \(log.suffix(4000))") }
  }
}

/// Runs `body` with a gateway in front of `endpoints`, then ends it with SIGTERM and expects a clean exit.
/// - Parameters:
///   - endpoints: client URLs of etcd; none where `arguments` name them.
///   - arguments: more arguments of `etcd-rest serve`.
///   - environment: more environment variables.
/// - Throws: what `body` throws; `TestSupportError` where the gateway does not start, died meanwhile or does not end well.
package func withGateway<Value>(
  _ endpoints: [String], _ arguments: [String] = [], environment: [String: String] = [:],
  isolation: isolated (any Actor)? = #isolation, _ body: (GatewayProcess) async throws -> Value
) async throws -> Value {
  try await Turnstile.throughProcesses {
    try await withTemporaryDirectory { directory in
      let named = endpoints.isEmpty ? [] : ["--endpoints", endpoints.joined(separator: ",")]
      let serve = ["serve", "--listen", "127.0.0.1:0"] + named
      let gateway = try await GatewayProcess.start(serve + arguments, environment: environment, in: directory)
      return try await finally {
        let value = try await body(gateway)
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

/// Runs `etcd-rest` with these arguments until it ends by itself.
/// - Throws: `TestSupportError` where it does not end, after it was killed.
package func runGateway(
  _ arguments: [String], environment: [String: String] = [:], within limit: Duration = .seconds(10)
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

/// The URL after "is serving on" in a whole line, as `etcd-rest` prints once it listens.
private func servingURL(in output: String) -> String? {
  for line in output.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
    if let range = line.range(of: " is serving on ") { return String(line[range.upperBound...]) }
  }
  return nil
}
