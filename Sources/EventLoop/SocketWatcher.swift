internal import CLibuv

/// The events of a socket (libuv's `uv_poll_event`).
package struct SocketEvents: OptionSet, Sendable {
  package let rawValue: Int32
  package init(rawValue: Int32) { self.rawValue = rawValue }
  /// In place of the default, which is not specialized in other modules: literals in ``SocketWatcher``'s users took 2 %
  /// of the CPU of HTTPS.
  package init(arrayLiteral elements: SocketEvents...) { rawValue = elements.reduce(0) { $0 | $1.rawValue } }

  package static let readable = SocketEvents(rawValue: Int32(bitPattern: UV_READABLE.rawValue))
  package static let writable = SocketEvents(rawValue: Int32(bitPattern: UV_WRITABLE.rawValue))
  /// The peer has closed its side.
  package static let disconnect = SocketEvents(rawValue: Int32(bitPattern: UV_DISCONNECT.rawValue))
}

/// Notifies when a descriptor is ready (`uv_poll_t`). It does not own the descriptor, which must stay open until the
/// watcher is stopped or released.
package final class SocketWatcher {
  private let handle: UnsafeMutablePointer<uv_poll_t>
  // The handle is part of the loop, which must not be freed before it.
  private let loop: EventLoop
  private let body: (SocketEvents) -> Void
  private var events: SocketEvents = []

  /// - Throws: ``LoopError`` if the descriptor cannot be watched.
  package init(loop: EventLoop, descriptor: Int32, _ body: @escaping (SocketEvents) -> Void) throws(LoopError) {
    loop.checkOnLoop()
    self.loop = loop
    self.body = body
    handle = .allocate(capacity: 1)
    let code = uv_poll_init(loop.raw, handle, descriptor)
    guard code == 0 else {
      handle.deallocate()
      throw LoopError(code)
    }
    handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
  }

  deinit { closeHandle(handle) }

  /// Watches for `events` instead of the earlier ones. After an error on the socket all events are reported.
  package func watch(_ events: SocketEvents) {
    guard events != self.events else { return }
    self.events = events
    start()
  }

  private func start() {
    guard !events.isEmpty else {
      uv_poll_stop(handle)
      return
    }
    uv_poll_start(handle, events.rawValue) { handle, status, events in
      let watcher = Unmanaged<SocketWatcher>.fromOpaque(handle!.pointee.data).takeUnretainedValue()
      guard status < 0 else { return watcher.body(SocketEvents(rawValue: events)) }
      // libuv has stopped watching, but there may be bytes to read before the error: the error is reported again until
      // they were read.
      watcher.start()
      watcher.body(watcher.events)
    }
  }
}
