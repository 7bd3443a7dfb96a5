import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers with the first changes after a revision, or with none at the end of the wait: for clients that can read no
/// stream. Each answer's revision is what the next request goes on after, so that none is missed.
final class KeyWaitHandler: KeyHandler {
  private let request: KeyRequest
  unowned let exchange: Exchange
  unowned let shard: Shard
  private let start: WatchStart
  /// How long to wait, in milliseconds.
  private let limit: UInt64
  let caller: Caller
  private var client: WatchClient?
  private var place: OpenStreams.Place?
  /// How often etcd is asked how far it is, in milliseconds: who waits again and again in a range where nothing happens
  /// would else ask for what has been compacted some day.
  private static let question: UInt64 = 1000

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    try exchange.checkIsGet()
    try request.range.checkWatchable()
    guard let since = request.query.integer(.since) else {
      throw .badRequest("'wait' needs 'since': the revision of the answer before, so that nothing is missed in between")
    }
    start = try WatchStart(since: since, lastEventID: nil)
    let asked = try shard.settings.timeLimits.limit(of: exchange, waits: true)?.milliseconds ?? .max
    limit = min(request.query.time(.wait) ?? 0, asked)
    caller = try Caller(exchange, shard: shard, keepsPassword: true)
  }

  func receivedEnd() {
    do throws(RequestError) {
      place = try shard.streams.admit(self, heartbeat: Self.question, timeout: limit)
    } catch {
      return exchange.refuse(error)
    }
    let client = shard.bridge.watches.open(for: caller, delegate: self)
    self.client = client
    do throws(GRPCStatus) {
      try client.watch(request.range, from: start.firstRevision)
    } catch {
      fail(error)
    }
  }

  var isEndless: Bool { true }

  func clientIsGone() { leave() }

  /// Ends what is under way at etcd.
  private func leave() {
    client?.cancel()
    client = nil
    place = nil
  }

  private func answer(_ revision: Int64, _ events: borrowing ByteBuffer = ByteBuffer()) {
    leave()
    var body = ByteBuffer()
    body.append("{\"revision\":")
    body.append(decimal: revision)
    body.append(",\"events\":[")
    events.withUnsafeBytes { body.append($0) }
    body.append("]}")
    var response = HTTPResponse(status: 200, body: body)
    response.headers = HTTPResponse.headers(ofMoment: revision)
    exchange.respond(response)
  }

  private func answerWithNothing() {
    // Where etcd says how far it is, the next request need not begin as early.
    answer(max(start.revision ?? 0, client?.position ?? 0))
  }

  private func answer(_ response: WatchResponse) {
    var events = ByteBuffer()
    var writer = KeyEventWriter()
    var isBroken = false
    response.forEachEvent { event in
      if !events.isEmpty { events.append(",") }
      do { try writer.append(event, to: &events) } catch { isBroken = true }
    }
    guard !isBroken else { return fail(GRPCStatus(.internal, "a watch response of etcd is not understood")) }
    answer(response.lastRevision, events)
  }

  private func fail(_ status: GRPCStatus) {
    leave()
    respond(with: status)
  }
}

extension KeyWaitHandler: WatchClientDelegate {
  func watchClient(_ client: WatchClient, received response: WatchResponse, watchID: Int64) {
    switch response.news {
    case .creation: break
    case .events: answer(response)
    case .compaction: fail(GRPCStatus(.outOfRange, EtcdMessage.compacted, origin: .server))
    case .end(let status): fail(caller.meaning(of: status))
    }
  }

  func watchClient(_ client: WatchClient, endedWith status: GRPCStatus) { fail(status) }
}

// It counts as a stream: its clients are as many as those of watches, and stay as long.
extension KeyWaitHandler: OpenStream {
  func gatewayStops() { answerWithNothing() }
  func beat() { client?.moveOn() }
  func expire() { answerWithNothing() }
}
