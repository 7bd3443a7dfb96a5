import ArgumentParser
import ByteBuffers
import EtcdClient
import Glibc
import HTTPServer
import ProtobufWire
import UnixSignals

/// `etcd-rest lock`.
struct Lock: ClientCommand {
  static let configuration = CommandConfiguration(
    abstract: "Hold a lock while a command runs.",
    discussion: """
      Waits in the same queue as etcdctl lock and the gateway's /locks. The command has the lock's key in \
      ETCD_LOCK_KEY and its create revision in ETCD_LOCK_REV, and its exit code becomes that of etcd-rest (128 plus \
      the signal's number if a signal ended it). If the lock is lost because etcd could not be reached for --ttl, the \
      command gets SIGTERM, 10 s later SIGKILL, and the exit code is 1.

      Without a command the key is printed, and the lock held until SIGINT or SIGTERM.
      """)

  @Argument(help: "The name of the lock.")
  var name: String

  @Argument(parsing: .captureForPassthrough, help: "The command, with its arguments.")
  var command: [String] = []

  @Option(
    help: ArgumentHelp(
      "How long the lock stays held if the process ends without releasing it. (default: 10s)", valueName: "time"),
    transform: TimeSpan.read)
  var ttl: TimeSpan?

  @Option(
    help: ArgumentHelp("How long to wait while other clients hold the lock. (default: no limit)", valueName: "time"),
    transform: TimeSpan.read)
  var wait: TimeSpan?

  @OptionGroup(title: "etcd") var etcd: EndpointOptions
  @OptionGroup(title: "etcd") var identity: IdentityOptions
  @OptionGroup(title: "TLS to etcd") var tls: UpstreamTLSOptions
  @OptionGroup var client: ClientOptions

  /// The event that comes first.
  private enum Event {
    /// The command has ended, with this exit code.
    case done(Int32)
    /// A signal, before there was a command to pass it on to.
    case signal(Int32)
    /// The lease is gone, and the lock with it.
    case lost
  }

  func run(_ client: EtcdClient) async throws {
    guard !name.isEmpty, name.utf8.last != UInt8(ascii: "/") else {
      throw ValidationError("the name of the lock must not be empty, nor end with '/'")
    }
    if wait?.milliseconds == 0 { throw ValidationError("--wait must be more than 0") }
    let ttl = try (ttl ?? TimeSpan(milliseconds: 10_000)).ttl()
    // From here on a signal ends the wait and the lease, not the process.
    let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm, .sighup)
    let lease = try await client.grantLease(ttl: ttl).id
    let result: Result<Int32, any Error>
    do {
      result = .success(try await hold(client, lease, signals))
    } catch {
      result = .failure(error)
    }
    // This deletes the key, whether it holds the lock or waits for it. If etcd cannot be reached, the lease expires by
    // itself.
    _ = try? await client.revokeLease(lease)
    let code = try result.get()
    if code != 0 { throw ExitCode(code) }
  }

  private func hold(_ client: EtcdClient, _ lease: LeaseID, _ signals: UnixSignalsSequence) async throws
    -> Int32
  {
    let command = HeldCommand(self.command.first == "--" ? Array(self.command.dropFirst()) : self.command)
    return try await withThrowingTaskGroup(of: Event.self) { group in
      group.addTask { .done(try await work(client, lease, command)) }
      group.addTask {
        do {
          for try await _ in client.keepAlive(lease) {}
        } catch is EtcdError {
          // It may have expired, because etcd could not be reached for its whole time.
        }
        try Task.checkCancellation()
        return .lost
      }
      group.addTask {
        for await signal in signals where !command.pass(on: signal.rawValue) { return .signal(signal.rawValue) }
        throw CancellationError()
      }
      defer { group.cancelAll() }
      switch try await group.next() {
      case .done(let code): return code
      case .signal(let signal): return 128 + signal
      case .lost, nil:
        // The group waits for the command's end.
        command.stop()
        throw CommandFailure("the lock is lost: its lease has ended")
      }
    }
  }

  /// Waits for the lock, and runs the command.
  ///
  /// - Returns: the exit code.
  private func work(_ client: EtcdClient, _ lease: LeaseID, _ command: HeldCommand) async throws -> Int32 {
    let lock: LockResponse
    do {
      let limit = wait.map { Duration.milliseconds(Int64(clamping: $0.milliseconds)) }
      lock = try await client.lock(Bytes(name), lease: lease, timeout: limit)
    } catch let error as EtcdError where error.code == .deadlineExceeded {
      throw CommandFailure("another client holds the lock")
    }
    if command.isEmpty {
      var output = ByteBuffer()
      if self.client.json {
        output.append("{")
        output.append(member: Array(name.utf8), "\"name\":", "\"name_base64\":")
        output.append(",")
        output.append(member: lock.key.array, "\"key\":", "\"key_base64\":")
        output.append(",\"lease\":")
        output.appendJSON(lease)
        output.append("}\n")
      } else {
        output.append(lock.key)
        output.append("\n")
      }
      try output.print()
    }
    return try await command.run(["ETCD_LOCK_KEY": lock.key.description, "ETCD_LOCK_REV": "\(lock.header.revision)"])
  }
}
