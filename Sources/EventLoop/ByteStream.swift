/// A connection that carries bytes both ways and never blocks: a ``StreamSocket``, or one in memory, for tests.
package protocol ByteStream: AnyObject {
  /// Called with the events of the stream.
  var onEvent: (SocketEvents) -> Void { get set }

  /// Asks for events from now on.
  func watch(_ events: SocketEvents)
  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamSocket.ReadResult
  /// Writes as much of `bytes` as the stream takes now; returns how many bytes.
  ///
  /// - Throws: ``LoopError`` if the connection is lost.
  func write(_ bytes: UnsafeRawBufferPointer) throws(LoopError) -> Int
}
