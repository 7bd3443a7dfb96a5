import ByteBuffers
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Executes a transaction in plain JSON: one `Txn` of etcd's.
final class TxnHandler: KeyCallHandler {
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
  private var results: TxnAnswer
  private var isLarge = false
  private var answer: StreamedAnswer

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    answer = StreamedAnswer(shard.memory)
    results = TxnAnswer(TxnShape(), shard.memory)
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
    if let fault { return exchange.refuse(.badBody(fault)) }
    guard let message = message.take() else { return }
    start(KeyCalls.txn, message)
  }

  // MARK: - The answer

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    answer.read(into: buffer, of: call, over: shard.bridge)
  }

  private var headers: HTTPResponse.Headers {
    HTTPResponse.headers(ofMoment: results.revision)
  }
}

extension TxnHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    events = ProtobufPushParser(length: length, messages: TxnAnswer.messages(of: shape))
    results = TxnAnswer(shape, shard.memory)
    isLarge = length > StreamedAnswer.maxWhole
    if isLarge && !shard.hasRoomForAnswer { cut(call, &answer) }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !results.isBroken, !results.isTooMuch, let event = events.next(&input) {
      results.take(event, into: &answer.body.buffer)
    }
    if results.isTooMuch { return cut(call, &answer) }
    if isLarge && !answer.isStreaming && results.hasBegun { answer.begin(exchange, headers: headers) }
    answer.passOn(of: call, over: shard.bridge, to: exchange)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    if status.isOK {
      do throws(WireError) {
        try events.finish()
        try results.finish(into: &answer.body.buffer)
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    if answer.isStreaming {
      answer.end(isBroken: !status.isOK, to: exchange)
    } else if status.isOK {
      var response = HTTPResponse(status: 200, body: answer.body.takeAll())
      response.headers = headers
      // It reports what was done.
      response.isOwed = true
      exchange.respond(response)
    } else {
      respond(with: status)
    }
  }
}
