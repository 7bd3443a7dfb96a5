internal import CLibuv

/// A timer of a loop (`uv_timer_t`). It is stopped when the object is released.
package final class LoopTimer {
  private let handle: UnsafeMutablePointer<uv_timer_t>
  // The handle is part of the loop, which must not be freed before it.
  private let loop: EventLoop
  private let body: () -> Void

  package init(loop: EventLoop, _ body: @escaping () -> Void) {
    loop.checkOnLoop()
    self.loop = loop
    self.body = body
    handle = .allocate(capacity: 1)
    uv_timer_init(loop.raw, handle)
    handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
  }

  deinit { closeHandle(handle) }

  /// Whether the timer is going to fire.
  package var isActive: Bool {
    UnsafeMutableRawPointer(handle).withMemoryRebound(to: uv_handle_t.self, capacity: 1) { uv_is_active($0) != 0 }
  }

  /// Fires after `delay` milliseconds (0 means the next turn of the loop), then every `interval` milliseconds unless
  /// that is 0. Replaces an earlier start.
  package func start(after delay: UInt64, every interval: UInt64 = 0) {
    // If a timer's callback starts a timer with delay 0, libuv before 1.45 runs it in the same turn: a timer that
    // starts itself again would block everything else.
    let delay = loop.isRunningTimers ? max(delay, 1) : delay
    uv_timer_start(
      handle,
      { handle in
        let timer = Unmanaged<LoopTimer>.fromOpaque(handle!.pointee.data).takeUnretainedValue()
        let loop = timer.loop
        loop.isRunningTimers = true
        timer.body()
        loop.isRunningTimers = false
      }, delay, interval)
  }

  package func stop() { uv_timer_stop(handle) }
}
