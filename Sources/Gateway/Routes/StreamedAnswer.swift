import GrpcBridge
import HTTPServer

/// An answer that is made of a call's response as it comes: whole, with its length, if the response is small; else a
/// stream, in which a client that reads slowly holds etcd back.
struct StreamedAnswer: ~Copyable {
  /// A response up to this size is answered whole.
  static let maxWhole = 64 << 10

  /// What is appended to its buffer is answered.
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

  /// Has a stream go on with what was appended, and holds the call back if the client is slow. Of an answer that has
  /// not begun nothing is passed on.
  mutating func passOn(of call: Call, over bridge: Bridge, to exchange: Exchange) {
    guard isStreaming else { return }
    if !body.keep() { bridge.cancel(call) } else if body.isFull { bridge.pause(call) }
    exchange.streamIsReadable()
  }

  /// Hands out what was not read, and has etcd go on once that is all.
  mutating func read(
    into target: UnsafeMutableRawBufferPointer, of call: Call?, over bridge: Bridge
  ) -> StreamRead {
    let read = body.read(into: target)
    if case .bytes = read, body.isDrained, let call { bridge.resume(call) }
    return read
  }

  /// Ends a stream.
  ///
  /// - Parameter isBroken: whether something of it is missing.
  mutating func end(isBroken: Bool, to exchange: Exchange) {
    body.end(isBroken: isBroken)
    exchange.streamIsReadable()
  }
}
