import EventLoop
import FoundationEssentials
import Glibc
import GrpcBridge
import HTTPServer
import ServiceLifecycle
import Synchronization

/// An etcd that runs as a child of this process and never outlives it.
final class EtcdChild: Service {
  /// Why etcd does not run, in one line.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  let endpoint: Endpoint
  let dataDirectory: String
  private let process: ChildProcess

  private init(endpoint: Endpoint, dataDirectory: String, process: ChildProcess) {
    self.endpoint = endpoint
    self.dataDirectory = dataDirectory
    self.process = process
  }

  /// Starts etcd on free loopback ports. It may not serve yet when this returns.
  ///
  /// - Throws: ``Failure`` if the program does not exist or does not start.
  static func start(program: String, dataDirectory: String?) throws -> EtcdChild {
    guard let path = find(program) else {
      throw Failure(description: "there is no program '\(program)': install etcd, or name it with --etcd PATH")
    }
    let directory = try dataDirectory ?? temporaryDirectory()
    let client = try freePort()
    let peer = try freePort()
    let process = try ChildProcess(
      path,
      [
        "--name", "dev", "--data-dir", directory, "--listen-client-urls", "http://127.0.0.1:\(client)",
        "--advertise-client-urls", "http://127.0.0.1:\(client)", "--listen-peer-urls", "http://127.0.0.1:\(peer)",
        "--initial-advertise-peer-urls", "http://127.0.0.1:\(peer)", "--initial-cluster",
        "dev=http://127.0.0.1:\(peer)", "--log-level", "warn",
      ], removing: dataDirectory == nil ? directory : nil)
    return EtcdChild(endpoint: try Endpoint("http://127.0.0.1:\(client)"), dataDirectory: directory, process: process)
  }

  /// Waits, while etcd runs, until the process has to stop.
  ///
  /// - Throws: ``Failure`` with etcd's last words if it ends by itself.
  func run() async throws {
    let status = await cancelWhenGracefulShutdown { [process] in
      await withTaskCancellationHandler {
        await process.exit()
      } onCancel: {
        process.stop()
      }
    }
    let wasStopped = process.wasStopped
    stop()
    if !wasStopped { throw failure(status) }
  }

  /// Why etcd has ended; nil while it runs.
  var ended: Failure? { process.status.map { failure($0) } }

  /// Ends etcd and removes its data if they are temporary. May be called again.
  func stop() { process.stopAndWait() }

  private func failure(_ status: String) -> Failure {
    Failure(description: "etcd ended (\(status)): \(process.lastWords)")
  }

  private static func find(_ program: String) -> String? {
    if program.utf8.contains(UInt8(ascii: "/")) { return access(program, X_OK) == 0 ? program : nil }
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
    return path.split(separator: ":").map { "\($0)/\(program)" }.first { access($0, X_OK) == 0 }
  }

  private static func temporaryDirectory() throws -> String {
    var template = Array("\(FileManager.default.temporaryDirectory.path)/etcd-rest-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw Failure(description: "cannot create a temporary folder: \(String(cString: strerror(errno)))")
    }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// A port that is free at the moment, in the range from which systems take no ports for outgoing connections (RFC
  /// 6335, section 6: the dynamic ones begin at 49152; Linux begins at 32768). If another process takes it before etcd
  /// does, etcd reports that and ends.
  private static func freePort() throws -> UInt16 {
    for _ in 0..<100 {
      let port = UInt16.random(in: 10_000..<32_000)
      let address = ListenAddress(.tcp(host: "127.0.0.1", port: port))
      guard let listeners = try? Listeners([address], shards: 1) else { continue }
      listeners.close()
      return port
    }
    throw Failure(description: "no free port for etcd between 10000 and 32000")
  }
}
