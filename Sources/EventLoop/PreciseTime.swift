internal import CLibuv

/// Nanoseconds of a clock that only goes forward, read now (`uv_hrtime`): for measuring durations. Time limits use
/// ``EventLoop/now``, which costs nothing.
package var preciseTime: UInt64 { uv_hrtime() }
