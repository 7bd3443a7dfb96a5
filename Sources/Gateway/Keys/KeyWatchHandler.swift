import GrpcBridge
import HTTPServer

/// Begins a watch of a key, or of the keys of a range, which a ``LineStream`` sends to the client. For `HEAD` the watch
/// ends as soon as etcd has created it.
final class KeyWatchHandler: RequestHandler {
  private let request: KeyRequest
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private let start: WatchStart
  private let form: KeyWatchForm
  private var stream: LineStream?

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    try request.range.checkWatchable()
    form = KeyWatchForm(for: exchange.head)
    start = try WatchStart(since: request.query.integer(.since), lastEventID: exchange.head.lastEventID)
  }

  func receivedEnd() {
    do throws(RequestError) {
      try begin()
    } catch {
      guard start.isReturn && error.status == 503 else { return exchange.refuse(error) }
      exchange.respond(form.refusal(GRPCStatus(error.grpcCode, error.message), hadCredentials: true, isReturn: true))
    }
  }

  var isEndless: Bool { true }

  func clientIsGone() { stream?.clientIsGone() }

  private func begin() throws(RequestError) {
    let (stream, caller) = try LineStream.open(
      exchange, shard, as: form, heartbeat: request.query.time(.heartbeat))
    self.stream = stream
    let session = KeyWatchSession(
      request.range, from: start, as: form, sink: stream, shard: shard, caller: caller)
    stream.source = session
    session.begin()
  }
}

extension LineStream {
  /// Makes the answer of a stream of plain JSON, with a place among the open streams, and its caller.
  ///
  /// - Throws: the error for the client if there is no such place, or the request has no clear meaning.
  static func open(
    _ exchange: Exchange, _ shard: Shard, as form: KeyWatchForm, heartbeat: UInt64?
  ) throws(RequestError) -> (stream: LineStream, caller: Caller) {
    let timeout = try shard.settings.timeLimits.limit(of: exchange, waits: true)
    let caller = try Caller(exchange, shard: shard, keepsPassword: true)
    let stream = LineStream(
      exchange, shard.journal, contentType: form.contentType, hadCredentials: caller.isSomebody)
    try stream.enter(shard.streams, heartbeat: heartbeat, timeout: timeout?.milliseconds)
    return (stream, caller)
  }
}
