import EventLoop
import FoundationEssentials
import Glibc
import Synchronization

/// What runs while a lock is held: a child process with our standard descriptors and in our process group, so that the
/// terminal's signals reach it; or nothing but the wait for a signal.
final class HeldCommand: Sendable {
  private enum State {
    case waiting
    case running(pid_t)
    /// There is no command, and the waiting task is notified of a signal.
    case idling(CheckedContinuation<Int32, Never>)
    /// It has ended, or will not run any more.
    case ended
  }

  private let words: [String]
  private let state = Mutex(State.waiting)

  /// How long it may take to end before it is killed.
  private static let patience = Duration.seconds(10)

  /// - Parameter words: the program, found by `PATH`, and its arguments; none if a signal is waited for.
  init(_ words: [String]) { self.words = words }

  var isEmpty: Bool { words.isEmpty }

  /// Runs it to its end, also if the task is cancelled.
  ///
  /// - Parameter variables: added to the environment.
  /// - Returns: its exit code; 128 and the signal's number if a signal ended it, as in a shell.
  /// - Throws: ``CommandFailure`` if it does not start, and `CancellationError` if it was stopped before.
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

  /// Takes a signal that we got. SIGINT is not passed on: the terminal sends it to the whole group.
  ///
  /// - Returns: false if the command has not begun, and then will not.
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

  /// Makes it end: with SIGTERM, and a while later with SIGKILL.
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
    // Those that we ignore, or wait for, mean to it what they always do.
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
    // The process is left unreaped until the lock is held: until then no other process gets its number.
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
