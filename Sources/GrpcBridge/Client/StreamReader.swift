/// The reading end of a stream: from the first word to etcd until nobody reads it any more, which ends the stream at
/// etcd.
final class StreamReader<Element: Sendable>: Sendable {
  private let client: EtcdClient
  private let buffer: StreamBuffer<Element>
  private let ticket = OperationTicket()

  /// Begins the stream.
  ///
  /// - Parameter make: makes what carries the stream, on the client's thread; must not refer to the client.
  init(
    _ client: EtcdClient, _ policy: StreamBuffer<Element>.Policy,
    make: @escaping @Sendable (ClientLoop, OperationTicket, StreamBuffer<Element>) -> any ClientOperation
  ) {
    self.client = client
    let buffer = StreamBuffer<Element>(policy)
    self.buffer = buffer
    let isTaken = client.execute { [ticket] core in core.start(make(core, ticket, buffer), ticket) }
    if !isTaken { buffer.finish(EtcdError.clientClosed) }
  }

  deinit { cancel() }

  private func cancel() {
    ticket.cancel()
    client.execute { [ticket] in $0.cancel(ticket) }
  }

  /// The next element; nil at the stream's own end.
  func next() async throws -> Element? {
    try await withTaskCancellationHandler {
      try await buffer.next {
        client.execute { [ticket] in $0.resume(ticket) }
      }
    } onCancel: {
      buffer.finish(CancellationError(), dropping: true)
      cancel()
    }
  }
}
