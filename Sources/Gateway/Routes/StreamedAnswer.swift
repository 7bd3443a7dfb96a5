import GrpcBridge
import HTTPServer

/// An answer that is made from a call's response as it comes. If the response is small, the answer is whole, with its
/// length; otherwise it is a stream, and a client that reads slowly holds etcd back.
struct StreamedAnswer: ~Copyable {
  /// A response up to this size is answered whole.
  static let maxWhole = 64 << 10

  /// Bytes that are appended to its buffer are answered.
  var body: ResponseBodyBuffer
  /// Whether the answer has begun.
  private(set) var isStreaming = false

  init(_ memory: MemoryAccount) { body = ResponseBodyBuffer(memory) }

  /// Begins the answer, as a stream.
  ///
  /// - Parameter length: how many bytes it will have; nil if that is unknown.
  mutating func begin(
    _ exchange: Exchange, status: UInt32 = 200, contentType: StaticString = MediaType.json.name, length: UInt64? = nil,
    headers: HTTPResponse.Headers
  ) {
    isStreaming = true
    exchange.respond(streaming: status, contentType: contentType, length: length, headers: headers)
  }

  /// Has a stream continue with the appended bytes, and holds the call back if the client is slow. Does nothing if the
  /// answer has not begun.
  mutating func passOn(of call: Call, over bridge: Bridge, to exchange: Exchange) {
    guard isStreaming else { return }
    if !body.keep() { bridge.cancel(call) } else if body.isFull { bridge.pause(call) }
    exchange.streamIsReadable()
  }

  /// Hands out unread bytes, and has etcd continue once there are none.
  mutating func read(
    into target: UnsafeMutableRawBufferPointer, of call: Call?, over bridge: Bridge
  ) -> StreamRead {
    let read = body.read(into: target)
    if case .bytes = read, body.isDrained, let call { bridge.resume(call) }
    return read
  }

  /// Ends a stream.
  ///
  /// - Parameter isBroken: whether the answer is incomplete.
  mutating func end(isBroken: Bool, to exchange: Exchange) {
    body.end(isBroken: isBroken)
    exchange.streamIsReadable()
  }
}
