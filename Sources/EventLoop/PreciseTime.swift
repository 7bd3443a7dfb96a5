internal import CLibuv

/// Nanoseconds of a clock that only goes forward, read now (`uv_hrtime`): for measuring how long something takes. What
/// is about time limits goes by ``EventLoop/now``, which costs nothing.
package var preciseTime: UInt64 { uv_hrtime() }
