import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Carries out a transaction in plain JSON: one `Txn` of etcd's.
final class TxnHandler: KeyCallHandler {
  /// An answer up to this size is sent whole; a larger one as it comes.
  private static let maxWhole = 64 << 10

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  /// The body as far as it has come, unless it came in one piece.
  private var body = ByteBuffer()
  private var message: ByteBuffer?
  private var shape = TxnShape()
  private var fault: TranscodingError?

  private var events = ProtobufPushParser(length: 0, messages: [])
  private var answer: TxnAnswer
  private var isLarge = false
  private var isStreaming = false
  /// What of the answer was not read yet.
  private var json: ResponseBodyBuffer

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    json = ResponseBodyBuffer(shard.memory)
    answer = TxnAnswer(TxnShape(), shard.memory)
    try KeyQuery.checkIsEmpty(exchange.queryItems)
    try exchange.head.checkHasNoConditions()
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  // MARK: - The request

  var bodyUse: BodyUse { .whole }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    if isWhole { read(bytes) } else { body.append(bytes) }
  }

  private func read(_ bytes: UnsafeRawBufferPointer) {
    do throws(TranscodingError) {
      var message = keyCallMessage(capacity: bytes.count)
      shape = try TxnReader.read(bytes, into: &message, most: shard.settings.maxTransactionOperations)
      self.message = consume message
    } catch {
      fault = error
    }
  }

  func receivedEnd() {
    if message == nil && fault == nil { body.withUnsafeBytes { read($0) } }
    body.removeAll()
    if let fault { return exchange.respond(.error(.badBody(fault))) }
    guard let message = message.take() else { return }
    start(KeyCalls.txn, message)
  }

  // MARK: - The answer

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    shard.read(&json, of: call, into: buffer)
  }

  private var headers: HTTPResponse.Headers {
    HTTPResponse.headers(ofMoment: answer.revision)
  }
}

extension TxnHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    events = ProtobufPushParser(length: length, messages: TxnAnswer.messages(of: shape))
    answer = TxnAnswer(shape, shard.memory)
    isLarge = length > Self.maxWhole
    if isLarge && !shard.hasRoomForAnswer { cut(call, &json, isStreaming: false) }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !answer.isBroken, !answer.isTooMuch, let event = events.next(&input) {
      answer.take(event, into: &json.buffer)
    }
    if answer.isTooMuch { return cut(call, &json, isStreaming: isStreaming) }
    if isLarge && !isStreaming && answer.hasBegun {
      isStreaming = true
      exchange.respond(streaming: 200, contentType: MediaType.json.name, headers: headers)
    }
    if isStreaming { shard.passOn(&json, of: call, to: exchange) }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    if status.isOK {
      do throws(WireError) {
        try events.finish()
        try answer.finish(into: &json.buffer)
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    if isStreaming {
      shard.end(&json, isBroken: !status.isOK, to: exchange)
    } else if status.isOK {
      var response = HTTPResponse(status: 200, body: json.takeAll())
      response.headers = headers
      // It tells of what was done.
      response.isOwed = true
      exchange.respond(response)
    } else {
      respond(with: status)
    }
  }
}
