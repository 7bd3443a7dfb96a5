internal import CLibuv

extension EventLoop {
  /// Resolves a host and port without blocking the loop (`uv_getaddrinfo`), then calls `completion` on the loop.
  package func resolve(
    host: String, port: UInt16, completion: @escaping (Result<[SocketAddress], LoopError>) -> Void
  ) {
    checkOnLoop()
    let resolution = Resolution(completion)
    var hints = SocketAddress.hints
    // The resolution keeps itself alive until libuv has answered.
    let context = Unmanaged.passRetained(resolution)
    resolution.request.pointee.data = context.toOpaque()
    let code = uv_getaddrinfo(
      raw, resolution.request,
      { request, status, info in
        let resolution = Unmanaged<Resolution>.fromOpaque(request!.pointee.data).takeRetainedValue()
        defer { uv_freeaddrinfo(info) }
        resolution.completion(status == 0 ? .success(SocketAddress.list(info)) : .failure(LoopError(status)))
      }, host, String(port), &hints)
    if code != 0 {
      context.release()
      completion(.failure(LoopError(code)))
    }
  }
}

/// A name resolution under way.
private final class Resolution {
  /// Owned. libuv writes to it from one of its own threads until it has answered, so it needs memory with a fixed
  /// address: a pointer to a stored property is valid only during the call for which it is made.
  let request = UnsafeMutablePointer<uv_getaddrinfo_t>.allocate(capacity: 1)
  let completion: (Result<[SocketAddress], LoopError>) -> Void

  init(_ completion: @escaping (Result<[SocketAddress], LoopError>) -> Void) {
    self.completion = completion
    request.initialize(to: uv_getaddrinfo_t())
  }

  deinit { request.deallocate() }
}
