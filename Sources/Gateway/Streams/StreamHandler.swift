import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Begins a stream over plain HTTP: reads the whole request first, as HTTP/1.1 clients send all of it before they read,
/// and lets a ``LineStream`` answer.
final class StreamHandler: RequestHandler {
  private let route: RPCRoute
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private var body = ByteBuffer()
  private var stream: LineStream?

  init(_ route: RPCRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
  }

  var bodyUse: BodyUse { .whole }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) { body.append(bytes) }

  func receivedEnd() {
    do throws(RequestError) {
      try begin()
    } catch {
      exchange.refuse(error)
    }
  }

  var isEndless: Bool { route.isEndless }

  func clientIsGone() { stream?.clientIsGone() }

  private func begin() throws(RequestError) {
    let requests = try self.requests()
    let heartbeat = try exchange.heartbeat()
    let timeout = try shard.settings.timeLimits.limit(of: exchange, waits: true)
    let caller = try Caller(exchange, shard: shard, keepsPassword: true)
    let stream = LineStream(exchange, shard.journal, hadCredentials: caller.isSomebody)
    try stream.enter(shard.streams, heartbeat: heartbeat, timeout: timeout?.milliseconds)
    self.stream = stream
    let session = shard.session(for: route, sink: stream, caller: caller, timeout: timeout)
    stream.source = session
    switch requests {
    case .one(let message):
      session.receive(message.bytes.takeAll())
      if !stream.isEnded { session.receiveEnd() }
    case .many(let requests):
      stream.take(requests, for: session, maxBacklog: shard.settings.streams.backlog, on: shard.loop)
    }
  }

  private enum Requests {
    case one(Message)
    case many(RequestSequence)
  }

  private final class Message {
    var bytes = ByteBuffer()
  }

  /// The requests of the body, all of them known to be valid.
  private func requests() throws(RequestError) -> Requests {
    guard route.kind == .serverStream else {
      let requests = try RequestSequence(
        body.takeAll(), of: route, isStrict: exchange.head.isStrict, memory: shard.memory)
      guard !requests.isAtEnd else { throw .badRequest("the request body: expected a JSON value") }
      do {
        try requests.check()
      } catch {
        throw .badRequest("the request body: value \(error.number): \(error.error)")
      }
      return .many(requests)
    }
    // Bytes after a single request are ignored, and an absent body means an empty request, as in unary calls.
    let message = Message()
    message.bytes.appendZeros(CallMessage.headroom)
    do throws(TranscodingError) {
      _ = try body.withUnsafeBytes { json throws(TranscodingError) in
        try JSONToProtobuf.encode(json, as: route.request, strict: exchange.head.isStrict, into: &message.bytes)
      }
    } catch {
      throw .badRequest("the request body: \(error)")
    }
    body.removeAll()
    return .one(message)
  }
}

extension Exchange {
  /// The heartbeat intervals that a client may request, in milliseconds.
  private static let heartbeats: ClosedRange<UInt64> = 1000...3_600_000

  /// The heartbeat interval that the client requests (`?heartbeat=15s`), in milliseconds; nil for none.
  ///
  /// - Throws: ``RequestError`` if the parameter is malformed or out of range.
  func heartbeat() throws(RequestError) -> UInt64? {
    guard let text = query("heartbeat") else { return nil }
    guard let span = TimeSpan(argument: text), Self.heartbeats.contains(span.milliseconds) else {
      throw .badRequest("heartbeat: expected a time from 1s to 1h, not '\(text)'")
    }
    return span.milliseconds
  }
}
