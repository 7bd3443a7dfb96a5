import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers with a key's value as it is, or with the key as JSON.
final class KeyReadHandler: KeyCallHandler {
  /// A value up to this size is sent whole if it may be answered as text, which is known only at its end.
  private static let maxText = 2 << 20

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  private let request: KeyRequest
  private let asJSON: Bool
  /// Whether to answer with the type of text if the value is text: browsers show that, and many generated clients
  /// accept it.
  private let wantsText: Bool
  private let ifMatch: TagCondition?
  private let ifNoneMatch: TagCondition?

  private var events = ProtobufPushParser(length: 0, messages: [])
  private var revision: Int64 = 0
  private var found: KeyValueFields
  private var isFound = false
  private var hasValue = false
  /// Whether the whole key was read.
  private var isComplete = false
  /// Whether the answer has something that etcd never sends, such as two values.
  private var isBroken = false
  private var answer: StreamedAnswer
  /// Whether there is no room for an answer that would begin.
  private var lacksRoom = false

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    answer = StreamedAnswer(shard.memory)
    found = KeyValueFields(shard.memory)
    asJSON = request.isByQuery || exchange.head.accepted == .json
    wantsText = exchange.head.accepted == .text || exchange.head.accepted == .html
    ifMatch = try TagCondition(exchange.head.ifMatch, "If-Match")
    ifNoneMatch = try TagCondition(exchange.head.ifNoneMatch, "If-None-Match")
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  func receivedEnd() {
    var message = keyCallMessage()
    typealias Field = Etcdserverpb_RangeRequest.Field
    message.append(field: Field.key, request.range.start.array)
    message.append(field: Field.revision, request.query.integer(.revision) ?? 0)
    message.append(field: Field.serializable, request.query.flag(.serializable))
    start(KeyCalls.range, message)
  }

  // MARK: - The answer

  /// Whether the client has this version already (RFC 9110, section 13.1.2).
  private var isKnown: Bool { ifNoneMatch?.matchesWeakly(found.modRevision) ?? false }

  /// Whether the client only wants another version (RFC 9110, section 13.1.1).
  private var isUnwanted: Bool { ifMatch.map { !isFound || !$0.matchesStrongly(found.modRevision) } ?? false }

  /// libmicrohttpd sends a 304 without the body but with its length, as required (RFC 9110, section 8.6).
  private var status: UInt32 { isKnown ? 304 : 200 }

  private var contentType: StaticString {
    if asJSON { return MediaType.json.name }
    // Browsers save other bytes as a file.
    let isText = wantsText && !answer.isStreaming && found.value.withUnsafeBytes { UTF8Text.wellFormed($0) == $0.count }
    return isText ? "text/plain; charset=utf-8" : MediaType.bytes.name
  }

  private var headers: HTTPResponse.Headers {
    var headers: HTTPResponse.Headers = [
      ("X-Etcd-Revision", "\(request.query.integer(.revision) ?? revision)"), ("Cache-Control", "no-cache"),
      ("Vary", "Accept"),
    ]
    guard isFound else { return headers }
    headers.append(("ETag", EntityTag.text(found.modRevision)))
    headers.append(("X-Etcd-Create-Revision", "\(found.createRevision)"))
    headers.append(("X-Etcd-Version", "\(found.version)"))
    if found.lease != 0 { headers.append(("X-Etcd-Lease", "\(found.lease)")) }
    return headers
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    answer.read(into: buffer, of: call, over: shard.bridge)
  }

  private func respond() {
    guard !isUnwanted else {
      return exchange.respond(.error(412, .failedPrecondition, "the key has another mod_revision", headers: headers))
    }
    guard isFound else { return exchange.respond(.keyNotFound(headers: headers)) }
    // The value can be checked until it becomes the body.
    let contentType = contentType
    let body = self.body()
    guard !found.isTooMuch else { return exchange.refuse(.shortage) }
    var response = HTTPResponse(status: status, body: body)
    response.contentType = contentType
    response.headers = headers
    exchange.respond(response)
  }

  private func body() -> ByteBuffer {
    guard asJSON else { return found.takeValue() }
    var body = ByteBuffer(capacity: 256)
    found.appendJSON(to: &body)
    _ = found.takeValue()
    return body
  }

  private func take(_ event: ProtobufPushParser.Event) {
    switch event {
    case .number(path: RangeResponsePath.revision, let number): revision = Int64(bitPattern: number)
    case .end(path: RangeResponsePath.keyValue):
      isBroken = isComplete
      isFound = true
      isComplete = true
    case .begin(path: RangeResponsePath.value, let length, let rest):
      guard !hasValue else { return isBroken = true }
      isFound = true
      hasValue = true
      guard length > (wantsText ? Self.maxText : StreamedAnswer.maxWhole) else {
        found.reserveValue(min(length, StreamedAnswer.maxWhole))
        break
      }
      // The lease comes after the value, but belongs in the head of the answer.
      guard !asJSON && rest == 0 && !isUnwanted else { break }
      guard shard.hasRoomForAnswer else { return lacksRoom = true }
      answer.begin(
        exchange, status: status, contentType: MediaType.bytes.name, length: UInt64(length), headers: headers)
    case .bytes(path: RangeResponsePath.value, let bytes) where answer.isStreaming: answer.body.buffer.append(bytes)
    case .bytes(path: RangeResponsePath.value, _) where isUnwanted: break
    // The key is known from the path.
    case .bytes(path: RangeResponsePath.key, _) where !asJSON: break
    default: found.take(event, ofMessageAt: RangeResponsePath.keyValue)
    }
  }
}

extension KeyReadHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    events = ProtobufPushParser(length: length, messages: RangeResponsePath.messages)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !isBroken, !found.isTooMuch, !lacksRoom, let event = events.next(&input) { take(event) }
    if found.isTooMuch || lacksRoom { return cut(call, &answer) }
    answer.passOn(of: call, over: shard.bridge, to: exchange)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    if status.isOK {
      do throws(WireError) {
        guard !isBroken else { throw .unexpectedFields }
        try events.finish()
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    if answer.isStreaming {
      answer.end(isBroken: !status.isOK, to: exchange)
    } else if status.isOK {
      respond()
    } else {
      respond(with: status)
    }
  }
}
