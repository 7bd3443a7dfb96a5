/// The streams of an etcd, by its metrics.
extension EtcdProcess {
  /// Watchers of all streams: one for each watch that was created and not canceled.
  package func watchers() async throws -> Int {
    Int(try await metric("etcd_debugging_mvcc_watcher_total"))
  }

  /// Streams of the method `Watch`, as the store behind them counts them.
  package func watchStreams() async throws -> Int {
    Int(try await metric("etcd_debugging_mvcc_watch_stream_total"))
  }

  /// Calls of a method that have been started and have not ended.
  package func callsUnderWay(of method: String) async throws -> Int {
    // The ended ones are read first, so that a call that ends between the two is not missed.
    let ended = try await metric("grpc_server_handled_total", ["grpc_method": method])
    return Int(try await metric("grpc_server_started_total", ["grpc_method": method]) - ended)
  }
}
