import Foundation
import Synchronization

/// Suspends tasks until a socket is ready, so that no thread of Swift's pool ever blocks in a system call.
///
/// One thread in poll(2) waits for all of them; a pipe wakes it when there is one more.
final class SocketPoller: Sendable {
  static let shared = SocketPoller()

  enum Readiness: Int16 {
    case readable
    case writable

    fileprivate var events: Int16 { Int16(self == .readable ? POLLIN : POLLOUT) }
  }

  private struct Key: Hashable {
    var descriptor: Int32
    var readiness: Readiness
  }

  private struct Wait {
    var deadline: ContinuousClock.Instant
    var continuation: CheckedContinuation<Bool, Never>
  }

  private struct State {
    var waits: [Key: Wait] = [:]
    /// Whether a byte is in the pipe, so that one is enough however many waits begin.
    var isWoken = false
  }

  private let state = Mutex(State())
  private let wakeReader: Int32
  private let wakeWriter: Int32

  private init() {
    var ends: [Int32] = [0, 0]
    precondition(pipe(&ends) == 0, "no pipe for the socket poller")
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    (wakeReader, wakeWriter) = (ends[0], ends[1])
    let thread = Thread { self.run() }
    thread.name = "socket poller"
    thread.start()
  }

  /// Returns true when the descriptor is ready (or broken: the next call on it shows that), false at the deadline.
  ///
  /// True is a hint: the next call may find that there is nothing yet. Only one task at a time may wait for each
  /// readiness.
  func wait(for readiness: Readiness, of descriptor: Int32, until deadline: ContinuousClock.Instant) async -> Bool {
    await withCheckedContinuation { continuation in
      state.withLock { state in
        let key = Key(descriptor: descriptor, readiness: readiness)
        precondition(state.waits[key] == nil, "two tasks wait for one socket")
        state.waits[key] = Wait(deadline: deadline, continuation: continuation)
        if !state.isWoken {
          state.isWoken = true
          var byte: UInt8 = 0
          write(wakeWriter, &byte, 1)
        }
      }
    }
  }

  /// Ends the waits for a descriptor as if their deadline had come; call it before closing one.
  func cancel(_ descriptor: Int32) {
    let ended = state.withLock { state in
      [Readiness.readable, .writable].compactMap {
        state.waits.removeValue(forKey: Key(descriptor: descriptor, readiness: $0))
      }
    }
    for wait in ended { wait.continuation.resume(returning: false) }
  }

  private func run() {
    while true {
      let waits = state.withLock(\.waits)
      let keys = Array(waits.keys)
      var polled = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)]
      polled += keys.map { pollfd(fd: $0.descriptor, events: $0.readiness.events, revents: 0) }
      poll(&polled, nfds_t(polled.count), milliseconds(to: waits.values.map(\.deadline).min()))

      if polled[0].revents != 0 {
        state.withLock { state in
          var byte: UInt8 = 0
          read(wakeReader, &byte, 1)
          state.isWoken = false
        }
      }
      let ready = zip(keys, polled.dropFirst()).filter { $1.revents != 0 }.map(\.0)
      let now = ContinuousClock.now
      let expired = keys.filter { waits[$0]!.deadline <= now }
      end(ready, returning: true)
      end(expired, returning: false)
    }
  }

  private func end(_ keys: [Key], returning isReady: Bool) {
    let ended = state.withLock { state in keys.compactMap { state.waits.removeValue(forKey: $0) } }
    for wait in ended { wait.continuation.resume(returning: isReady) }
  }

  private func milliseconds(to deadline: ContinuousClock.Instant?) -> Int32 {
    guard let deadline else { return -1 }
    return Int32(clamping: max(0, Int64((deadline - .now) / .milliseconds(1)) + 1))
  }
}
