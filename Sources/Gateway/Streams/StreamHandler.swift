import GrpcBridge
import Transcoding

/// Begins a stream that a client asks for by plain HTTP: reads the whole request, as HTTP/1.1 clients send all of theirs
/// before they read, and lets a ``LineStream`` answer.
final class StreamHandler: RequestHandler {
  private let route: RpcRoute
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var body = ByteBuffer()
  private var stream: LineStream?

  init(_ route: RpcRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
  }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) { body.append(bytes) }

  func receivedEnd() {
    do throws(Refusal) {
      try begin()
    } catch {
      exchange.respond(.error(error))
    }
  }

  var isEndless: Bool { true }

  func clientIsGone() { stream?.clientIsGone() }

  private func begin() throws(Refusal) {
    var messages = ByteBuffer()
    let ends = try encode(into: &messages)
    body.removeAll()
    let head = exchange.head
    let heartbeat = try exchange.heartbeat()
    let timeout = try shard.settings.timeLimits.limit(of: head, waits: true)
    let caller = try Caller(exchange, shard: shard, keepsPassword: true)
    let stream = LineStream(exchange, isEndless: route.isEndless, hadCredentials: caller.isSomebody)
    try stream.enter(shard.streams, heartbeat: heartbeat, timeout: timeout?.milliseconds)
    self.stream = stream
    let session = shard.session(for: route, sink: stream, caller: caller, timeout: timeout)
    stream.pass(StreamRequests(messages.takeAll(), ends: ends), to: session)
  }

  /// Encodes the request messages, one behind the other, each behind the room for its gRPC prefix.
  ///
  /// - Returns: where each ends.
  private func encode(into messages: inout ByteBuffer) throws(Refusal) -> [Int] {
    // Of a single request whatever follows is ignored, and no body stands for an empty one, as in unary calls.
    let isSequence = route.kind != .serverStream
    var ends: [Int] = []
    var start = 0
    repeat {
      messages.appendZeros(CallMessage.headroom)
      do throws(TranscodingError) {
        start += try body.withUnsafeBytes { json throws(TranscodingError) in
          try JSONToProtobuf.encode(
            UnsafeRawBufferPointer(rebasing: json[start...]), as: route.request, strict: exchange.head.isStrict,
            sequence: isSequence, into: &messages)
        }
      } catch {
        let which = isSequence ? "value \(ends.count + 1): " : ""
        throw .badRequest("the request body: \(which)\(error.preceded(by: start))")
      }
      ends.append(messages.count)
    } while isSequence && hasMore(from: start)
    // Nothing but white space was taken for an empty message.
    if isSequence && messages.count == CallMessage.headroom && !hasMore(from: 0) {
      throw .badRequest("the request body: a JSON value is expected")
    }
    return ends
  }

  /// Whether there is anything but white space (RFC 8259, section 2) from `start` on.
  private func hasMore(from start: Int) -> Bool {
    body.withUnsafeBytes { json in
      json[start...].contains { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 }
    }
  }
}

extension Exchange {
  /// How often a client may want a sign of life, in milliseconds.
  private static let heartbeats: ClosedRange<UInt64> = 1000...3_600_000

  /// How often, in milliseconds, the client wants a sign of life (`?heartbeat=15s`); nil for never.
  ///
  /// - Throws: ``Refusal`` where the parameter is no such time.
  func heartbeat() throws(Refusal) -> UInt64? {
    guard let text = query("heartbeat") else { return nil }
    guard let span = TimeSpan(argument: text), Self.heartbeats.contains(span.milliseconds) else {
      throw .badRequest("heartbeat: expected a time from 1s to 1h, not '\(text)'")
    }
    return span.milliseconds
  }
}
