import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers with a page of the keys of a range.
final class KeyListHandler: KeyCallHandler {
  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  private let request: KeyRequest
  private let cursor: PageCursor?
  private var selection: KeySelection

  private var events = ProtobufPushParser(length: 0, messages: [])
  private var isLarge = false
  private var hasBegun = false
  /// Whether the answer has something that etcd never sends: two headers, or keys before the first header.
  private var isBroken = false
  private var revision: Int64 = 0
  private var key: KeyValueFields
  private var pageEnd = PageEnd()
  /// How many keys are still to come that an earlier page has had.
  private var skip: Int64 = 0
  private var keyCount = 0
  private var hasMore = false
  private var count: Int64 = 0
  private var answer: StreamedAnswer

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    answer = StreamedAnswer(shard.memory)
    key = KeyValueFields(shard.memory)
    cursor = try PageCursor(of: request)
    selection = KeySelection(request)
    let query = request.query
    selection.limit = query.integer(.limit) ?? 0
    selection.countOnly = query.flag(.countOnly)
    selection.sort(by: query.text(.sort), order: query.text(.order))
    if let cursor {
      selection.revision = cursor.revision
      skip = selection.advance(to: cursor.place)
    }
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  func receivedEnd() { start(KeyCalls.range, selection.message()) }

  // MARK: - The answer

  private var headers: HTTPResponse.Headers {
    [("X-Etcd-Revision", "\(revision)"), ("Cache-Control", "no-cache"), ("Vary", "Accept")]
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    answer.read(into: buffer, of: call, over: shard.bridge)
  }

  private func take(_ event: ProtobufPushParser.Event) {
    switch event {
    case .number(path: RangeResponsePath.revision, let number): revision = Int64(bitPattern: number)
    case .end(path: RangeResponsePath.header): if hasBegun { isBroken = true } else { begin() }
    case .end(path: RangeResponsePath.keyValue):
      if hasBegun && !selection.countOnly { append() } else { isBroken = true }
    case .number(path: RangeResponsePath.more, let number): hasMore = number != 0
    case .number(path: RangeResponsePath.count, let number): count = Int64(bitPattern: number)
    default: key.take(event, ofMessageAt: RangeResponsePath.keyValue)
    }
  }

  private func begin() {
    hasBegun = true
    // The keys are those at this revision, not at the store's.
    if selection.revision > 0 { revision = selection.revision }
    answer.body.buffer.append("{\"revision\":")
    answer.body.buffer.append(decimal: revision)
    if !selection.countOnly { answer.body.buffer.append(",\"keys\":[") }
    if isLarge { answer.begin(exchange, headers: headers) }
  }

  private func append() {
    key.key.withUnsafeBytes { pageEnd.note($0) }
    if skip > 0 {
      skip -= 1
    } else {
      if keyCount > 0 { answer.body.buffer.append(",") }
      keyCount += 1
      key.appendJSON(to: &answer.body.buffer, hasValue: !selection.keysOnly)
    }
    key.reset()
  }

  private func finish() {
    answer.body.buffer.append(selection.countOnly ? ",\"count\":" : "],\"count\":")
    let total = cursor?.count ?? count
    answer.body.buffer.append(decimal: total)
    if hasMore && selection.target == 0 {
      answer.body.buffer.append(",\"cursor\":\"")
      let place = pageEnd.next(
        in: selection.range, of: request.range, isDescending: selection.order == .descending)
      let next = PageCursor(revision: revision, count: total, place: place)
      answer.body.buffer.append(next.text(for: request.query).utf8)
      answer.body.buffer.append("\"")
    } else if hasMore {
      answer.body.buffer.append(",\"more\":true")
    }
    answer.body.buffer.append("}")
  }
}

extension KeyListHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    events = ProtobufPushParser(length: length, messages: RangeResponsePath.messages)
    isLarge = length > StreamedAnswer.maxWhole
    if isLarge && !shard.hasRoomForAnswer { cut(call, &answer) }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !isBroken, !key.isTooMuch, let event = events.next(&input) { take(event) }
    if key.isTooMuch { return cut(call, &answer) }
    answer.passOn(of: call, over: shard.bridge, to: exchange)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    if status.isOK {
      do throws(WireError) {
        try events.finish()
        guard hasBegun, !isBroken else { throw .unexpectedFields }
        finish()
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    if answer.isStreaming {
      answer.end(isBroken: !status.isOK, to: exchange)
    } else if status.isOK {
      var response = HTTPResponse(status: 200, body: answer.body.takeAll())
      response.headers = headers
      exchange.respond(response)
    } else {
      respond(with: status)
    }
  }
}
