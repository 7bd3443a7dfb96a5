import Dispatch
import EventLoop
import FoundationEssentials
import Glibc
import Synchronization

/// A child process that cannot outlive this one: the kernel kills it when the thread that started it ends (prctl(2),
/// PR_SET_PDEATHSIG, by way of setpriv(1)), and that thread only waits for it.
///
/// It runs in a process group of its own, so that Ctrl-C on the terminal only reaches it when this process passes the
/// signal on.
final class ChildProcess: Sendable {
  private struct State {
    var pid: pid_t = 0
    /// How the process ended, in words.
    var status: String?
    var wasStopped = false
    var waiters: [CheckedContinuation<String, Never>] = []
  }

  private let state = Mutex(State())
  private let ended = DispatchSemaphore(value: 0)
  /// Its output: a file without a name, so that none is left behind.
  private let log: Int32

  /// How long it may take to end before it is killed, in seconds.
  private static let patience = 5.0

  /// - Parameter folder: a folder that is removed once the process has ended.
  /// - Throws: `EtcdChild.Failure` if the program does not start.
  init(_ program: String, _ arguments: [String], removing folder: String?) throws {
    var template = Array("\(FileManager.default.temporaryDirectory.path)/etcd-rest-log-XXXXXX".utf8CString)
    log = mkstemp(&template)
    guard log >= 0 else {
      throw EtcdChild.Failure(description: "\(program) does not start: no file for its log: \(LoopError(-errno))")
    }
    unlink(template)
    _ = fcntl(log, F_SETFD, FD_CLOEXEC)
    let output = log
    let started = DispatchSemaphore(value: 0)
    let words = ["setpriv", "--pdeathsig", "KILL", program] + arguments
    try detachThread(name: "etcd-rest child") { [self] in
      var child: pid_t = 0
      let code = Self.spawn(words, output: output, &child)
      state.withLock {
        $0.pid = child
        if code != 0 { $0.status = String(cString: strerror(code)) }
      }
      started.signal()
      guard code == 0 else { return }
      finish(child, removing: folder)
    }
    started.wait()
    if let status { throw EtcdChild.Failure(description: "\(program) does not start: \(status)") }
  }

  /// How the process ended, in words; nil while it runs.
  var status: String? { state.withLock { $0.status } }

  var wasStopped: Bool { state.withLock { $0.wasStopped } }

  /// The last line of its output.
  var lastWords: String {
    let most = 65_536
    let end = lseek(log, 0, SEEK_END)
    let bytes = [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
      count = max(0, pread(log, buffer.baseAddress, most, max(0, end - most)))
    }
    return bytes.split(separator: UInt8(ascii: "\n")).last.map { String(decoding: $0, as: UTF8.self) }
      ?? "no output"
  }

  /// Waits for its end.
  func exit() async -> String {
    await withCheckedContinuation { continuation in
      let status = state.withLock { state in
        if state.status == nil { state.waiters.append(continuation) }
        return state.status
      }
      if let status { continuation.resume(returning: status) }
    }
  }

  /// Tells it to end (SIGTERM).
  func stop() {
    state.withLock { state in
      state.wasStopped = true
      // The pid belongs to this child until it is reaped, under this lock.
      if state.status == nil { kill(state.pid, SIGTERM) }
    }
  }

  /// Ends it, by force if it takes too long.
  func stopAndWait() {
    stop()
    if ended.wait(timeout: .now() + Self.patience) == .timedOut {
      state.withLock { state in
        if state.status == nil { kill(state.pid, SIGKILL) }
      }
      ended.wait()
    }
    // The next caller finds it ended as well.
    ended.signal()
  }

  deinit { close(log) }

  private func finish(_ child: pid_t, removing folder: String?) {
    // The process is not reaped before the lock is held: until then no other process gets its number.
    var info = siginfo_t()
    while waitid(P_PID, id_t(child), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
    let (status, waiters) = state.withLock { state in
      let status = Self.reap(child)
      state.status = status
      defer { state.waiters = [] }
      return (status, state.waiters)
    }
    if let folder { try? FileManager.default.removeItem(atPath: folder) }
    for waiter in waiters { waiter.resume(returning: status) }
    ended.signal()
  }

  private static func spawn(_ words: [String], output: Int32, _ child: inout pid_t) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigaddset(&signals, SIGPIPE)
    sigaddset(&signals, SIGTERM)
    sigaddset(&signals, SIGINT)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { arguments.forEach { free($0) } }
    // etcd takes ETCD_… variables for its flags, and logs those that it does not know, such as the gateway's.
    var environment: [UnsafeMutablePointer<CChar>?] =
      ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("ETCD_") }.map { strdup("\($0.key)=\($0.value)") }
      + [nil]
    defer { environment.forEach { free($0) } }
    return posix_spawnp(&child, words[0], &actions, &attributes, &arguments, &environment)
  }

  /// How `child` ended, in words.
  private static func reap(_ child: pid_t) -> String {
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    let signal = status & 0x7F
    return signal == 0 ? "exit code \(status >> 8 & 0xFF)" : "signal \(signal)"
  }
}
