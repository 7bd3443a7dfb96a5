internal import CLibuv

/// A timer of a loop (`uv_timer_t`). It is stopped when the object goes.
package final class LoopTimer {
  private let handle: UnsafeMutablePointer<uv_timer_t>
  // The handle is part of the loop, which must not go before it.
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

  /// Fires after `delay` milliseconds, then every `interval` milliseconds unless that is 0. Replaces an earlier start.
  package func start(after delay: UInt64, every interval: UInt64 = 0) {
    uv_timer_start(
      handle,
      { handle in
        Unmanaged<LoopTimer>.fromOpaque(handle!.pointee.data).takeUnretainedValue().body()
      }, delay, interval)
  }

  package func stop() { uv_timer_stop(handle) }
}
