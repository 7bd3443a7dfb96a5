internal import GrpcBridge

/// The reading end of a stream. The stream begins at etcd when this is made, and ends there when it is no longer read.
final class StreamReader<Element: Sendable>: Sendable {
  private let client: EtcdClient
  private let buffer: StreamBuffer<Element>
  private let cancellationToken = CancellationToken()

  /// Begins the stream.
  ///
  /// - Parameter make: makes the stream's operation, on the client's thread; must not refer to the client. An error
  ///   that it throws ends the stream.
  init(
    _ client: EtcdClient, _ policy: StreamBuffer<Element>.Policy,
    make: @escaping @Sendable (ClientLoop, CancellationToken, StreamBuffer<Element>) throws -> any ClientOperation
  ) {
    self.client = client
    let buffer = StreamBuffer<Element>(policy)
    self.buffer = buffer
    let isTaken = client.execute { [cancellationToken] core in
      do {
        core.start(try make(core, cancellationToken, buffer), cancellationToken)
      } catch {
        buffer.finish(error)
      }
    }
    if !isTaken { buffer.finish(EtcdError.clientClosed) }
  }

  deinit { cancel() }

  private func cancel() {
    cancellationToken.cancel()
    client.execute { [cancellationToken] in $0.cancel(cancellationToken) }
  }

  /// The next element; nil at the stream's own end.
  func next() async throws -> Element? {
    try await withTaskCancellationHandler {
      try await buffer.next {
        client.execute { [cancellationToken] in $0.resume(cancellationToken) }
      }
    } onCancel: {
      buffer.finish(CancellationError(), dropping: true)
      cancel()
    }
  }
}
