import GrpcBridge

extension Shard {
  /// The session of one client's stream, whichever way its messages travel.
  ///
  /// - Parameter timeout: the time limit of the whole stream; nil for none.
  func session(
    for route: RpcRoute, sink: any StreamSink, credentials: StreamCredentials, timeout: GrpcTimeout?
  ) -> any StreamSession {
    switch route.kind {
    case .unary: fatalError("not there yet")
    case .serverStream:
      return ServerStreamSession(route, sink: sink, shard: self, credentials: credentials, timeout: timeout)
    case .watch: return WatchSession(route, sink: sink, credentials: credentials, shard: self)
    case .leaseKeepAlive: return KeepAliveSession(route, sink: sink, credentials: credentials, shard: self)
    }
  }
}
