import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers with the first changes after a revision, or with none at the end of the wait: for clients that cannot read
/// streams. The next request continues after the revision of each answer, so that no change is missed.
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
  /// How often etcd is asked for its progress, in milliseconds. Otherwise a client that waits again and again in a
  /// quiet range would one day name a compacted revision.
  private static let question: UInt64 = 1000

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    try request.range.checkWatchable()
    guard let since = request.query.integer(.since) else {
      throw .badRequest("'wait' needs 'since': the revision of the previous answer, so that no change is missed")
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

  /// Ends the watch at etcd.
  private func leave() {
    client?.cancel()
    client = nil
    place = nil
  }

  private func answerWithNothing() {
    // With etcd's progress the next request can begin later.
    let revision = max(start.revision ?? 0, client?.position ?? 0)
    leave()
    var response = HTTPResponse(status: 200, body: Self.begin(revision))
    response.body.append("]}")
    response.headers = HTTPResponse.headers(ofMoment: revision)
    exchange.respond(response)
  }

  private static func begin(_ revision: Int64) -> ByteBuffer {
    var body = ByteBuffer()
    body.append("{\"revision\":")
    body.append(decimal: revision)
    body.append(",\"events\":[")
    return body
  }

  /// Why there is no answer.
  private enum Fault: Error {
    case misunderstood
    case shortage
  }

  /// Sends the answer, whose text all clients with the same wait share.
  private func answer(_ response: WatchResponse) {
    do throws(Fault) {
      let body = try response.rendering(variant: 0) { () throws(Fault) in
        guard let body = SharedBody(try Self.body(of: response), in: shard.memory) else { throw .shortage }
        return body
      }
      leave()
      exchange.respond(
        200, contentType: MediaType.json.name, shared: body,
        headers: HTTPResponse.headers(ofMoment: response.lastRevision))
    } catch {
      switch error {
      case .misunderstood: fail(GRPCStatus(.internal, "etcd sent an invalid watch response"))
      case .shortage:
        leave()
        exchange.refuse(.shortage)
      }
    }
  }

  private static func body(of response: WatchResponse) throws(Fault) -> ByteBuffer {
    var body = begin(response.lastRevision)
    var writer = KeyEventWriter()
    var isFirst = true
    var isBroken = false
    response.forEachEvent { event in
      if !isFirst { body.append(",") }
      isFirst = false
      do { try writer.append(event, to: &body) } catch { isBroken = true }
    }
    guard !isBroken else { throw .misunderstood }
    body.append("]}\n")
    return body
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

// It counts as a stream: there may be as many waiting clients as watches, for as long.
extension KeyWaitHandler: OpenStream {
  func gatewayStops() { answerWithNothing() }
  func beat() { client?.moveOn() }
  func expire() { answerWithNothing() }
}
