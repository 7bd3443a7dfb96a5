import EventLoop
import FoundationEssentials
import Glibc
import Synchronization

/// What runs while a lock is held: a child process with this process's standard descriptors and in its process group,
/// so that the terminal's signals reach it; or only a wait for a signal.
final class HeldCommand: Sendable {
  private enum State {
    case waiting
    case running(pid_t)
    /// There is no command, and the waiting task is notified of a signal.
    case idling(CheckedContinuation<Int32, Never>)
    /// It has ended, or must not run any more.
    case ended
  }

  private let words: [String]
  private let state = Mutex(State.waiting)

  /// How long it may take to end before it is killed.
  private static let patience = Duration.seconds(10)

  /// - Parameter words: the program, found by `PATH`, and its arguments; none to wait for a signal.
  init(_ words: [String]) { self.words = words }

  var isEmpty: Bool { words.isEmpty }

  /// Runs it to its end, even if the task is cancelled.
  ///
  /// - Parameter variables: added to the environment.
  /// - Returns: its exit code; 128 plus the signal's number if a signal ended it, as in a shell.
  /// - Throws: ``CommandFailure`` if it does not start, and `CancellationError` if it was stopped before that.
  func run(_ variables: [String: String]) async throws -> Int32 {
    guard !isEmpty else { return await idle() }
    let child = try state.withLock { state in
      guard case .waiting = state else { throw CancellationError() }
      let child = try spawn(variables)
      state = .running(child)
      return child
    }
    return try await withCheckedThrowingContinuation { continuation in
      do {
        try detachThread(name: "etcd-rest lock") { [self] in continuation.resume(returning: reap(child)) }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  private func idle() async -> Int32 {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        guard case .waiting = state else { return true }
        state = .idling(continuation)
        return false
      }
      if isOver { continuation.resume(returning: 1) }
    }
  }

  /// Passes on a signal to this process, except SIGINT, which the terminal sends to the whole group.
  ///
  /// - Returns: false if the command has not begun; then it never will.
  func pass(on signal: Int32) -> Bool {
    state.withLock { state in
      switch state {
      case .waiting:
        state = .ended
        return false
      case .running(let child):
        if signal != SIGINT { kill(child, signal) }
      case .idling(let continuation):
        state = .ended
        continuation.resume(returning: 0)
      case .ended: break
      }
      return true
    }
  }

  /// Ends it: with SIGTERM, and later with SIGKILL.
  func stop() {
    _ = pass(on: SIGTERM)
    Task { [self] in
      try await Task.sleep(for: Self.patience)
      state.withLock { state in
        if case .running(let child) = state { kill(child, SIGKILL) }
      }
    }
  }

  private func spawn(_ variables: [String: String]) throws -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // The child gets the default action of signals that this process ignores or waits for.
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { sigaddset(&signals, signal) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var arguments = words.map { strdup($0) } + [nil]
    var environment =
      ProcessInfo.processInfo.environment.merging(variables) { $1 }.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in arguments + environment { free(text) } }
    var child: pid_t = 0
    let code = posix_spawnp(&child, words[0], nil, &attributes, &arguments, &environment)
    guard code == 0 else { throw CommandFailure("\(words[0]) does not start: \(String(cString: strerror(code)))") }
    return child
  }

  /// Waits for the end of a child.
  private func reap(_ child: pid_t) -> Int32 {
    // The process is not reaped before the lock is held: until then no other process gets its number.
    var info = siginfo_t()
    while waitid(P_PID, id_t(child), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
    return state.withLock { state in
      state = .ended
      var status: Int32 = 0
      while waitpid(child, &status, 0) < 0 && errno == EINTR {}
      let signal = status & 0x7F
      return signal == 0 ? status >> 8 & 0xFF : 128 + signal
    }
  }
}
