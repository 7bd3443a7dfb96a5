import Glibc

/// A connected or connecting socket, TCP or Unix, that never blocks. Owns its descriptor.
package final class StreamSocket: ByteStream {
  package let descriptor: Int32
  package var onEvent: (SocketEvents) -> Void
  private var watcher: SocketWatcher?

  /// The outcome of one read.
  package enum ReadResult {
    case bytes(Int)
    case wouldBlock
    case closed
    case failed(LoopError)
  }

  /// Begins to connect. When that has ended, successfully or not, the socket becomes writable: see ``connectError``.
  ///
  /// - Throws: ``LoopError`` if the connection fails at once.
  package init(loop: EventLoop, connectingTo address: SocketAddress, onEvent: @escaping (SocketEvents) -> Void)
    throws(LoopError)
  {
    descriptor = socket(address.family, SocketConstants.nonBlockingStream, 0)
    self.onEvent = onEvent
    guard descriptor >= 0 else { throw LoopError(-errno) }
    if address.family != AF_UNIX {
      var one: Int32 = 1
      // The caller gathers frames: waiting for more would only add delay (tcp(7), TCP_NODELAY).
      setsockopt(descriptor, SocketConstants.tcp, TCP_NODELAY, &one, socklen_t(MemoryLayout.size(ofValue: one)))
      noticeVanishedPeer(descriptor, patience: 30_000)
    }
    // From here on a throw runs `deinit`, which closes the descriptor.
    let code = address.withPointer { connect(descriptor, $0, $1) }
    if code != 0 && errno != EINPROGRESS { throw LoopError(-errno) }
    watcher = try SocketWatcher(loop: loop, descriptor: descriptor) { [unowned self] in self.onEvent($0) }
  }

  deinit {
    // The watcher must release the descriptor before the system may give its number to another socket.
    watcher?.watch([])
    if descriptor >= 0 { close(descriptor) }
  }

  package func watch(_ events: SocketEvents) { watcher?.watch(events) }

  /// The error of the attempt to connect; nil if it succeeded.
  package var connectError: LoopError? {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout.size(ofValue: code))
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
    return code == 0 ? nil : LoopError(-code)
  }

  package func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
    while true {
      let count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
      if count > 0 { return .bytes(count) }
      if count == 0 { return .closed }
      switch errno {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      case let code: return .failed(LoopError(-code))
      }
    }
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws(LoopError) -> Int {
    while true {
      let count = send(descriptor, bytes.baseAddress, bytes.count, SocketConstants.noSignal)
      if count >= 0 { return count }
      switch errno {
      case EINTR: continue
      case EAGAIN: return 0
      case let code: throw LoopError(-code)
      }
    }
  }
}
