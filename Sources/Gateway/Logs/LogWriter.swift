import ByteBuffers
import EventLoop
import Glibc
import Logging
import ProtobufWire
import Synchronization

/// The one way in which log lines leave the process: a buffer, which a separate thread writes out. For all threads.
///
/// No logging thread waits for the reader: if the buffer is full, because a pipe is stuck or a disk slow, lines are
/// dropped and counted, and a line reports that as soon as there is room. The buffer's lock is held only while a batch
/// of lines is copied.
final class LogWriter: Sendable {
  /// How many bytes may wait; as many more may be being written.
  static let capacity = 1 << 20
  /// How long the end of the process waits for lines to be written, in milliseconds.
  private static let lastWait = 1000

  private struct State: ~Copyable {
    var waiting = ByteBuffer()
    var lineCount = 0
    var dropped: UInt64 = 0
    /// How many dropped lines were not reported yet.
    var unreported: UInt64 = 0
    var format = LogFormat.text
    /// Whether the thread sleeps.
    var isIdle = false
    /// Posted when everything has been written.
    var marks: [Semaphore] = []
  }

  private let state = Mutex(State())
  private let descriptor: Int32
  private let wakeUp = Semaphore()

  /// The writer of standard error, which writes what is left when the process exits.
  static let standardError: LogWriter = {
    let writer = LogWriter(STDERR_FILENO)
    atexit { LogWriter.standardError.flush(within: LogWriter.lastWait) }
    return writer
  }()

  /// - Parameter descriptor: the descriptor to write to, which stays open.
  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    do throws(LoopError) {
      try detachThread(name: "etcd-rest log") { self.run() }
    } catch {
      // Without a thread the gateway does not start either, and reports that by itself.
    }
  }

  /// Sets the format of the line that reports dropped ones.
  func use(_ format: LogFormat) { state.withLock { $0.format = format } }

  /// How many lines were dropped so far.
  var droppedCount: UInt64 { state.withLock { $0.dropped } }

  /// Takes whole lines, all or none of them.
  ///
  /// - Parameter count: how many lines these are.
  func append(_ lines: borrowing ByteBuffer, count: Int = 1) {
    let mustWake = state.withLock { state in
      guard state.waiting.count + lines.count <= Self.capacity else {
        state.dropped += UInt64(count)
        state.unreported += UInt64(count)
        return false
      }
      lines.withUnsafeBytes { state.waiting.append($0) }
      state.lineCount += count
      defer { state.isIdle = false }
      return state.isIdle
    }
    if mustWake { wakeUp.post() }
  }

  /// Waits until everything that was taken has been written, or the time is over.
  ///
  /// - Parameter limit: in milliseconds.
  func flush(within limit: Int) {
    let mark = Semaphore()
    let mustWake = state.withLock { state in
      state.marks.append(mark)
      defer { state.isIdle = false }
      return state.isIdle
    }
    if mustWake { wakeUp.post() }
    mark.wait(within: limit)
  }

  // MARK: - The thread

  private func run() {
    var lines = ByteBuffer()
    var clock = LogClock()
    while true {
      let (count, lost, marks, format) = state.withLock { state in
        swap(&lines, &state.waiting)
        let taken = (state.lineCount, state.unreported, state.marks, state.format)
        state.lineCount = 0
        state.unreported = 0
        state.marks = []
        return taken
      }
      var isBroken = false
      if !lines.isEmpty && !write(lines) {
        isBroken = true
        state.withLock { state in
          state.dropped += UInt64(count)
          state.unreported += UInt64(count)
        }
      }
      // The earlier lines have been written, and the dropped ones would have come next.
      if lost > 0 {
        var line = LogLine(format, at: clock.text, .warning, "log lines were dropped: they were not read in time")
        line.add("lines", lost)
        let note = line.end()
        if !isBroken { isBroken = !write(note) }
        if isBroken {
          state.withLock { $0.unreported += lost }
        }
      }
      lines.removeAll(keepingCapacity: lines.count <= 64 << 10)
      for mark in marks { mark.post() }
      let isIdle = state.withLock { state in
        // If the descriptor has failed, it is not tried again before there is more to write.
        let isTold = state.unreported == 0 || isBroken
        state.isIdle = state.waiting.isEmpty && state.marks.isEmpty && isTold
        return state.isIdle
      }
      if isIdle { wakeUp.wait() }
    }
  }

  /// Writes everything, however long that takes.
  ///
  /// - Returns: whether the descriptor accepts writes.
  private func write(_ lines: borrowing ByteBuffer) -> Bool {
    lines.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count > 0 {
          rest = rest.dropFirst(count)
        } else if count < 0 && errno == EAGAIN {
          // Another process has set the descriptor to non-blocking.
          var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = Glibc.poll(&poll, 1, -1)
        } else if count == 0 || errno != EINTR {
          return false
        }
      }
      return true
    }
  }
}

/// A semaphore of the system (sem_overview(7)).
private final class Semaphore: @unchecked Sendable {
  // Invariant: initialised from init to deinit. Any thread may use it.
  private let raw = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

  init() { sem_init(raw, 0, 0) }

  deinit {
    sem_destroy(raw)
    raw.deallocate()
  }

  func post() { sem_post(raw) }

  func wait() { while sem_wait(raw) != 0 && errno == EINTR {} }

  /// - Parameter limit: in milliseconds.
  func wait(within limit: Int) {
    var end = timespec()
    clock_gettime(CLOCK_REALTIME, &end)
    let nanoseconds = end.tv_nsec + limit % 1000 * 1_000_000
    end.tv_sec += limit / 1000 + nanoseconds / 1_000_000_000
    end.tv_nsec = nanoseconds % 1_000_000_000
    while sem_timedwait(raw, &end) != 0 && errno == EINTR {}
  }
}
