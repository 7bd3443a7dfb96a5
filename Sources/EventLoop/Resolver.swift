internal import CLibuv

extension EventLoop {
  /// Resolves a host and port without blocking the loop (`uv_getaddrinfo`), then calls `completion` on the loop.
  package func resolve(
    host: String, port: UInt16, completion: @escaping (Result<[SocketAddress], LoopError>) -> Void
  ) {
    checkOnLoop()
    final class Request {
      var raw = uv_getaddrinfo_t()
      let completion: (Result<[SocketAddress], LoopError>) -> Void
      init(_ completion: @escaping (Result<[SocketAddress], LoopError>) -> Void) { self.completion = completion }
    }
    let request = Request(completion)
    var hints = SocketAddress.hints
    // The request keeps itself alive until libuv answers it; its `raw` never moves, being a class's stored property.
    let context = Unmanaged.passRetained(request)
    request.raw.data = context.toOpaque()
    let code = uv_getaddrinfo(
      raw, &request.raw,
      { raw, status, info in
        let request = Unmanaged<Request>.fromOpaque(raw!.pointee.data).takeRetainedValue()
        defer { uv_freeaddrinfo(info) }
        request.completion(status == 0 ? .success(SocketAddress.list(info)) : .failure(LoopError(status)))
      }, host, String(port), &hints)
    if code != 0 {
      context.release()
      completion(.failure(LoopError(code)))
    }
  }
}
