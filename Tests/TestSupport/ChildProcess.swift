import Foundation
import Synchronization

/// A process for one test. It cannot outlive the test process, however that ends.
package final class ChildProcess: Sendable {
  /// How a process ended.
  package enum Exit: Equatable, Sendable {
    case code(Int32)
    case signal(Int32)
  }

  /// The files that standard output and standard error go to.
  package let outputPath: String
  package let errorPath: String
  /// Its thread reports everything under this lock. A continuation would do as well, but Swift's runtime (6.3) does not
  /// show ThreadSanitizer the data of one that is resumed before it is awaited.
  private let state = Mutex(State())

  private struct State {
    var pid: Int32 = 0
    var exit: Exit?
    var waiters: [CheckedContinuation<Exit, Never>] = []
  }

  private init(outputPath: String, errorPath: String) {
    self.outputPath = outputPath
    self.errorPath = errorPath
  }

  /// Starts a program. Its standard input is empty; its output is appended to the two files.
  ///
  /// `setpriv --pdeathsig KILL` (util-linux) has the kernel kill the child when the *thread* that forked it ends
  /// (prctl(2), `PR_SET_PDEATHSIG`). Therefore each child has a thread that starts it and then waits for it.
  /// - Parameter environment: added to the inherited environment, from which every variable named `ETCD…` is removed.
  package static func start(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], output: String, error: String
  ) async throws -> ChildProcess {
    try await start(program, arguments, environment: environment, in: nil, output: output, error: error)
  }

  /// - Parameters:
  ///   - namespace: the network of the process; nil for this one's.
  ///   - directory: its working directory; nil for this one's.
  static func start(
    _ program: String, _ arguments: [String], environment: [String: String] = [:], in namespace: Namespace?,
    directory: String? = nil, output: String, error: String
  ) async throws -> ChildProcess {
    let elsewhere = directory.map { ["/usr/bin/env", "--chdir=\($0)"] } ?? []
    let command = ["/usr/bin/setpriv", "--pdeathsig", "KILL"] + elsewhere + [program] + arguments
    let inherited = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("ETCD") }
    let variables = inherited.merging(environment) { $1 }.map { "\($0.key)=\($0.value)" }
    let child = ChildProcess(outputPath: output, errorPath: error)
    try await withCheckedThrowingContinuation { started in
      let thread = Thread {
        do {
          try namespace?.enter()
          let pid = try spawn(command, variables, output: output, error: error)
          child.state.withLock { $0.pid = pid }
          started.resume()
          child.awaitExit()
        } catch {
          started.resume(throwing: error)
        }
      }
      thread.name = "child of tests"
      thread.start()
    }
    return child
  }

  package var pid: Int32 { state.withLock(\.pid) }

  /// Sends a signal; nothing happens if the process has ended.
  package func signal(_ number: Int32) {
    // Under the lock the process is not reaped yet, so that the id still belongs to it.
    state.withLock { state in
      if state.exit == nil { _ = kill(state.pid, number) }
    }
  }

  /// How the process ended; nil while it runs.
  package var exited: Exit? { state.withLock(\.exit) }

  /// Waits for the end of the process, however long it takes.
  private func end() async -> Exit {
    await withCheckedContinuation { waiter in
      let exit = state.withLock { state in
        if state.exit == nil { state.waiters.append(waiter) }
        return state.exit
      }
      if let exit { waiter.resume(returning: exit) }
    }
  }

  /// Waits for the end of the process.
  /// - Throws: `TestSupportError` if it still runs after `limit`.
  package func exit(within limit: Duration = suiteLimit) async throws -> Exit {
    try await eventually("end of process \(pid)", within: limit) { exited }
  }

  /// Kills the process, stopped or not, and returns when it is gone.
  package func killAndWait() async {
    signal(SIGKILL)
    _ = await end()
  }

  /// Everything written so far.
  package var output: String { text(of: outputPath) }
  package var errorOutput: String { text(of: errorPath) }

  private func text(of path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }

  /// The body of the child's thread: returns when the process is reaped.
  private func awaitExit() {
    let pid = pid
    var info = siginfo_t()
    while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
    let (exit, waiters) = state.withLock { state in
      var status: Int32 = 0
      while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
      let signal = status & 0x7f
      let exit: Exit = signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
      defer { state = State(pid: pid, exit: exit) }
      return (exit, state.waiters)
    }
    for waiter in waiters { waiter.resume(returning: exit) }
  }
}

/// Figures of a running process, from `/proc` (proc(5)).
extension ChildProcess {
  /// Resident memory in bytes.
  package var residentBytes: Int {
    let pages = text(of: "/proc/\(pid)/statm").split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * sysconf(Int32(_SC_PAGESIZE))
  }

  /// The most resident memory that it has had, in bytes (`VmHWM`).
  package var peakResidentBytes: Int { statusBytes("VmHWM:") }

  /// Resident memory of its own in bytes (`RssAnon`): without the pages of the program's file, which the system brings
  /// in and takes away as it likes.
  package var anonymousBytes: Int { statusBytes("RssAnon:") }

  private func statusBytes(_ field: String) -> Int {
    let line = text(of: "/proc/\(pid)/status").split(separator: "\n").first { $0.hasPrefix(field) }
    return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
  }

  /// Open file descriptors.
  package var openDescriptors: Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count) ?? 0
  }

  /// Whether every thread has stopped (state `T`), or there is none left.
  package var isFrozen: Bool {
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    return threads.allSatisfy { thread in
      let state = text(of: "/proc/\(pid)/task/\(thread)/stat").split(separator: ")").last?.split(separator: " ").first
      return state == nil || state == "T"
    }
  }

  /// Processor time of all threads so far, user and system.
  package var processorTime: Duration {
    // The name, in parentheses, may contain blanks; the fields after it are numbered from 3, and 14 and 15 are needed.
    let fields = text(of: "/proc/\(pid)/stat").split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { return .zero }
    return .milliseconds((user + system) * 1000 / sysconf(Int32(_SC_CLK_TCK)))
  }
}

/// Forks and executes `command` without this process's ignored signals and signal mask; descriptors are close-on-exec
/// here.
func spawn(_ command: [String], _ variables: [String], output: String, error: String) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
  posix_spawn_file_actions_addopen(&actions, 2, error, O_WRONLY | O_CREAT | O_APPEND, 0o600)

  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var signals = sigset_t()
  sigemptyset(&signals)
  posix_spawnattr_setsigmask(&attributes, &signals)
  sigfillset(&signals)
  posix_spawnattr_setsigdefault(&attributes, &signals)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

  let argv = command.map { strdup($0) } + [nil]
  let envp = variables.map { strdup($0) } + [nil]
  defer { for string in argv + envp { free(string) } }
  var pid: pid_t = 0
  let result = posix_spawn(&pid, command[0], &actions, &attributes, argv, envp)
  guard result == 0 else {
    throw TestSupportError("cannot start \(command[0]): \(String(cString: strerror(result)))")
  }
  return pid
}
