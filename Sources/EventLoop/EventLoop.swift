internal import CLibuv
import Synchronization

/// One thread's loop over sockets, timers and wake-ups: a thin wrapper of libuv's `uv_loop_t`.
///
/// A loop and everything made on it belong to the thread that calls ``run()``. Every method that is not meant for other
/// threads checks that, in release builds too. Other threads use the loop's ``remote``.
///
/// Follows the libuv documentation, "uv_loop_t — Event loop".
package final class EventLoop {
  // Owned; freed in deinit after every handle was closed.
  let raw: UnsafeMutablePointer<uv_loop_t>
  package let remote: Remote
  private var hooks: [PrepareHook] = []
  private var running = false
  /// Whether a timer's callback is running.
  var isRunningTimers = false

  /// - Throws: ``LoopError`` if the system grants no further descriptors.
  package init() throws(LoopError) {
    raw = .allocate(capacity: 1)
    let code = uv_loop_init(raw)
    guard code == 0 else {
      raw.deallocate()
      throw LoopError(code)
    }
    remote = Remote()
    try remote.attach(to: raw)
  }

  deinit {
    remote.detach()
    hooks.removeAll()
    // Handles are freed by their close callbacks, which need one more turn of the loop. A name resolution under way
    // cannot be cancelled, so it is awaited.
    while uv_run(raw, UV_RUN_ONCE) != 0 {}
    precondition(uv_loop_close(raw) == 0, "an event loop was released before the handles made on it")
    raw.deallocate()
  }

  /// Milliseconds of a clock that only goes forward, read once a turn of the loop (`uv_now`).
  package var now: UInt64 { uv_now(raw) }

  /// Serves events on the calling thread until ``stop()``.
  package func run() {
    remote.owner.store(currentThread, ordering: .relaxed)
    running = true
    while running {
      uv_run(raw, UV_RUN_DEFAULT)
    }
    remote.end()
    remote.owner.store(0, ordering: .relaxed)
  }

  /// Serves events on the calling thread, turn by turn, until `isDone` returns true. The loop may be run again.
  package func run(until isDone: () -> Bool) {
    remote.owner.store(currentThread, ordering: .relaxed)
    while !isDone() { uv_run(raw, UV_RUN_ONCE) }
    remote.owner.store(0, ordering: .relaxed)
  }

  /// Ends ``run()`` after the current turn.
  package func stop() {
    checkOnLoop()
    running = false
    uv_stop(raw)
  }

  /// Traps if the calling thread is not the loop's.
  package func checkOnLoop() {
    precondition(remote.isCurrent, "called from a thread that is not the event loop's")
  }

  /// Calls `body` once a turn, before the loop waits for events (`uv_prepare_t`). The loop keeps `body`, so that it
  /// must not own the loop.
  package func beforeWaiting(_ body: @escaping () -> Void) {
    hooks.append(PrepareHook(loop: self, body: body))
  }
}

/// An error of libuv or of the system under it.
package struct LoopError: Error, CustomStringConvertible {
  /// A negative errno, as in libuv.
  package let code: Int32

  package init(_ code: Int32) { self.code = code }

  package var description: String { String(cString: uv_strerror(code)) }

  /// Whether no process listens at the target of a connection: at a port, or at a Unix socket's path.
  package var isRefusal: Bool { code == UV_ECONNREFUSED.rawValue || code == UV_ENOENT.rawValue }
}

extension EventLoop {
  /// The part of a loop that other threads may use.
  package final class Remote: Sendable {
    /// Invariant for `Sendable`: used only under the mutex, and only for `uv_async_send`, the one call of libuv that is
    /// safe from any thread, until `detach` takes it out to close it on the loop's thread.
    private struct WakeUp: @unchecked Sendable {
      let handle: UnsafeMutablePointer<uv_async_t>
    }

    private struct State {
      var jobs: [@Sendable () -> Void] = []
      var wakeUp: WakeUp?
      /// Whether the loop has run and ended: then a job would be kept in vain, and with it everything that it refers
      /// to, often the loop.
      var hasEnded = false
    }

    private let state = Mutex(State())
    let owner = Atomic<UInt>(0)

    /// Whether the calling thread may use the loop. True for every thread while none runs the loop: before and after
    /// that, its owner has it to itself.
    var isCurrent: Bool {
      let thread = owner.load(ordering: .relaxed)
      return thread == 0 || thread == currentThread
    }

    /// Runs `job` on the loop's thread, soon. After the loop has ended the job is dropped.
    package func execute(_ job: @escaping @Sendable () -> Void) {
      state.withLock { state in
        guard !state.hasEnded, let wakeUp = state.wakeUp else { return }
        state.jobs.append(job)
        if state.jobs.count == 1 { uv_async_send(wakeUp.handle) }
      }
    }

    fileprivate func attach(to loop: UnsafeMutablePointer<uv_loop_t>) throws(LoopError) {
      let handle = UnsafeMutablePointer<uv_async_t>.allocate(capacity: 1)
      let code = uv_async_init(loop, handle) { handle in
        Unmanaged<Remote>.fromOpaque(handle!.pointee.data).takeUnretainedValue().runJobs()
      }
      guard code == 0 else {
        handle.deallocate()
        throw LoopError(code)
      }
      handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
      let wakeUp = WakeUp(handle: handle)
      state.withLock { $0.wakeUp = wakeUp }
    }

    fileprivate func detach() {
      let wakeUp = state.withLock { state in
        state.jobs.removeAll()
        return state.wakeUp.take()
      }
      if let wakeUp { closeHandle(wakeUp.handle) }
    }

    /// Accepts no more jobs, and releases those that will not run.
    fileprivate func end() {
      let jobs = state.withLock { state in
        state.hasEnded = true
        defer { state.jobs = [] }
        return state.jobs
      }
      // Released outside of the lock, as objects that the jobs refer to may execute something when they are released.
      _ = jobs
    }

    private func runJobs() {
      let jobs = state.withLock { state in
        let jobs = state.jobs
        state.jobs.removeAll(keepingCapacity: true)
        return jobs
      }
      for job in jobs { job() }
    }
  }
}

/// A value that belongs to a loop's thread, in a box that other threads may carry.
///
/// Invariant for `Sendable`: the value is reachable only through ``value``, which checks the thread.
package struct LoopBound<Value>: @unchecked Sendable {
  private let stored: Value
  /// Reaches the loop from other threads.
  package let remote: EventLoop.Remote

  package init(_ value: Value, loop: EventLoop) {
    stored = value
    remote = loop.remote
  }

  /// The value; traps on any thread except the loop's.
  package var value: Value {
    precondition(remote.isCurrent, "a loop's value was read from a thread that is not the loop's")
    return stored
  }
}

/// A `uv_prepare_t` and its closure.
private final class PrepareHook {
  private let handle: UnsafeMutablePointer<uv_prepare_t>
  private let body: () -> Void

  init(loop: EventLoop, body: @escaping () -> Void) {
    self.body = body
    handle = .allocate(capacity: 1)
    uv_prepare_init(loop.raw, handle)
    handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    uv_prepare_start(handle) { handle in
      Unmanaged<PrepareHook>.fromOpaque(handle!.pointee.data).takeUnretainedValue().body()
    }
  }

  deinit { closeHandle(handle) }
}

/// Closes any kind of libuv handle and frees its memory once the loop has released it (`uv_close`).
func closeHandle<Handle>(_ handle: UnsafeMutablePointer<Handle>) {
  let base = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
  base.pointee.data = nil
  uv_close(base) { UnsafeMutableRawPointer($0)?.deallocate() }
}
