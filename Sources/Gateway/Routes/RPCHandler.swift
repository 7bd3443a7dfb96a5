import ByteBuffers
import Glibc
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Sends one request to a unary RPC, and its answer back.
final class RPCHandler: RequestHandler {
  private let route: RPCRoute
  // Invariants: the exchange owns its handler, and the shard ends every call, and with it every request, before it is
  // released. Unsafe, as they are used often.
  private unowned(unsafe) let exchange: Exchange
  private unowned(unsafe) let shard: Shard
  /// The body as far as it has come, unless it came in one piece.
  private var body = ByteBuffer()
  /// The request message, after room for its gRPC prefix.
  private var message = ByteBuffer()
  private var fault: TranscodingError?
  private var hasMessage = false
  private var call: Call?
  /// Whether the request has credentials of any kind.
  private var hasCredentials = false

  // The answer.
  private var answer: StreamedAnswer
  private var transcoder: ResponseTranscoder?

  init(_ route: RPCRoute, exchange: Exchange, shard: Shard) {
    self.route = route
    self.exchange = exchange
    self.shard = shard
    answer = StreamedAnswer(shard.memory)
  }

  // MARK: - The request

  /// How large a login's body may be. etcd's users and passwords are much shorter.
  private static let maxLogin = 64 << 10

  var bodyUse: BodyUse { .whole }
  var isLogin: Bool { route.isAuthenticate }

  var bodyLimit: BodyLimit? {
    guard route.isAuthenticate else { return nil }
    return BodyLimit(of: Self.maxLogin, because: "the maximum for a login", within: shard.settings.http)
  }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    // Transcoded without a copy if the body comes in one piece.
    if isWhole { transcode(bytes) } else { body.append(bytes) }
  }

  private func transcode(_ bytes: UnsafeRawBufferPointer) {
    hasMessage = true
    message.reserveCapacity(CallMessage.headroom + bytes.count)
    message.appendZeros(CallMessage.headroom)
    do throws(TranscodingError) {
      _ = try JSONToProtobuf.encode(bytes, as: route.request, strict: exchange.head.isStrict, into: &message)
    } catch {
      fault = error
    }
  }

  func receivedEnd() {
    if !hasMessage { body.withUnsafeBytes { transcode($0) } }
    body.removeAll()
    let caller: Caller
    let timeout: GRPCTimeout?
    do throws(RequestError) {
      if let fault { throw .badBody(fault) }
      try route.checkPassword(in: message)
      timeout = try shard.settings.timeLimits.limit(of: exchange, waits: route.waits)
      caller = try Caller(exchange, shard: shard, isLogin: route.isAuthenticate)
    } catch {
      return exchange.refuse(error)
    }
    hasCredentials = caller.isSomebody
    let memory = message.takeAll().release()
    let call = Call(route.method, message: CallMessage(takingOwnershipOf: memory), timeout: timeout, delegate: self)
    self.call = call
    if route.isAuthenticate {
      shard.bridge.startLogin(call, from: caller.peer)
    } else {
      shard.bridge.start(call, for: caller)
    }
  }

  var isEndless: Bool { route.waits }

  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }

  // MARK: - The answer

  func read(into buffer: UnsafeMutableRawBufferPointer) -> StreamRead {
    answer.read(into: buffer, of: call, over: shard.bridge)
  }

  private func respond(with status: GRPCStatus) {
    guard status.isOK else {
      return exchange.respond(.error(status, hadCredentials: hasCredentials))
    }
    var response = HTTPResponse(status: 200, body: answer.body.takeAll())
    response.headers = headers
    response.isOwed = !route.method.changesNothing
    exchange.respond(response)
  }

  private var headers: HTTPResponse.Headers {
    exchange.head.isStrict ? [("Preference-Applied", "handling=strict")] : []
  }

  private func finish(_ status: GRPCStatus) {
    guard answer.isStreaming else { return respond(with: status) }
    answer.end(isBroken: !status.isOK, to: exchange)
  }
}

extension RPCHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    transcoder = ResponseTranscoder(route.response)
    // JSON is some four times as large as a message with mostly numbers, and half as large again as a value.
    answer.body.buffer.reserveCapacity(min(length, StreamedAnswer.maxWhole) * 2 + 512)
    guard length > StreamedAnswer.maxWhole else { return }
    guard shard.hasRoomForAnswer else {
      shard.bridge.cancel(call)
      return exchange.respond(.shortage(after: route.method))
    }
    answer.begin(exchange, headers: headers)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    transcoder?.push(bytes, into: &answer.body.buffer)
    answer.passOn(of: call, over: shard.bridge, to: exchange)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    if status.isOK {
      do throws(TranscodingError) {
        try transcoder?.finish(into: &answer.body.buffer)
      } catch {
        status = shard.misunderstood(error, for: exchange.id.text)
      }
    }
    finish(status)
  }
}
