import GrpcBridge

extension Shard {
  /// The session of one client's stream over any transport.
  ///
  /// - Parameter timeout: the time limit of the whole stream; nil for none.
  func session(
    for route: RPCRoute, sink: any StreamSink, caller: Caller, timeout: GRPCTimeout?
  ) -> any StreamSession {
    switch route.kind {
    case .unary: preconditionFailure("a unary call is no stream: RPCHandler and UnarySession make it")
    case .serverStream:
      return ServerStreamSession(route, sink: sink, shard: self, caller: caller, timeout: timeout)
    case .watch: return WatchSession(route, sink: sink, shard: self, caller: caller)
    case .leaseKeepAlive: return KeepAliveSession(route, sink: sink, caller: caller, shard: self)
    }
  }
}
