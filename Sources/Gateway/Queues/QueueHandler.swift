import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import SwiftProtobuf
import Transcoding

/// The common part of handlers that make one call after the other about a lock or an election. Each operation has a
/// class of its own.
class QueueHandler: KeyCallHandler, CallDelegate {
  /// How large the answer to a read may be, in bytes: it is kept whole, and has one key at most.
  private static let maxBytes = 16 << 20
  /// How many times its size an answer takes besides, while it is parsed and made JSON.
  private static let copies = 3

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  final var call: Call?
  let queue: QueueName
  let query: KeyQuery
  final private(set) var body = ByteBuffer()
  private var response: [UInt8] = []
  /// Counts the answer to a read while it comes.
  private var kept: KeptBytes
  private var answered: ([UInt8]) -> Void = { _ in }

  /// - Parameter parameters: the parameters that the query may have.
  /// - Throws: ``RequestError`` if the request has no clear meaning.
  init(
    _ exchange: Exchange, shard: Shard, parameters: [QueryParameter] = [], keepsPassword: Bool = false
  ) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    kept = KeptBytes(shard.memory)
    queue = try QueueName(exchange.head.path)
    if exchange.head.method == .post || exchange.head.method == .put {
      try KeyQuery.checkIsEmpty(exchange.queryItems)
    }
    query = try KeyQuery(exchange.queryItems) { parameters }
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard, keepsPassword: keepsPassword)
  }

  var bodyLimit: BodyLimit? {
    BodyLimit(of: 4096, because: "the maximum for a lock or an election", within: shard.settings.http)
  }

  var bodyUse: BodyUse { .none }
  var isEndless: Bool { false }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) { body.append(bytes) }

  /// The request is complete: to be overridden.
  func receivedEnd() {}

  /// The client has disconnected.
  func clientIsGone() {
    if let call { shard.bridge.cancel(call) }
  }

  /// A call has ended with an error.
  func hasFailed(_ status: GRPCStatus) { respond(with: status) }

  // MARK: - For subclasses

  /// Reads the body, or answers that it is malformed.
  ///
  /// - Returns: nil if it has answered.
  final func read<Value>(
    _ read: (inout JSONDocument) throws(TranscodingError) -> Value
  ) -> Value? {
    do throws(TranscodingError) {
      return try body.withUnsafeBytes { bytes throws(TranscodingError) in try JSONDocument.read(bytes, read) }
    } catch {
      exchange.refuse(.badBody(error))
      return nil
    }
  }

  /// Makes a call.
  ///
  /// - Parameter answered: gets the answer if the call succeeds.
  final func ask<Answer: Message>(
    _ method: CallMethod, _ request: some Message, ticket: QueueTicket? = nil, _ answered: @escaping (Answer) -> Void
  ) {
    do throws(GRPCStatus) {
      let message = CallMessage(copying: try request.encoded())
      self.answered = { [unowned self] bytes in
        guard let answer = try? Answer(serializedBytes: bytes) else {
          return respond(with: shard.misunderstood(WireError.unexpectedFields, for: exchange.id.text))
        }
        answered(answer)
      }
      // A changed lock or election is answered with a key without its value.
      start(
        Call(method, message: message, timeout: timeout, ticket: ticket, delegate: self),
        maxBytes: method.changesNothing ? Self.maxBytes : KeyCalls.maxSmall)
    } catch {
      respond(with: error)
    }
  }

  /// Reads which client holds the lock, or leads.
  final func askHolder(_ answered: @escaping (QueueHolder?, _ revision: Int64) -> Void) {
    ask(KeyCalls.range, QueueHolder.request(queue)) { (response: Etcdserverpb_RangeResponse) in
      answered(QueueHolder(response), response.header.revision)
    }
  }

  final func respond(_ body: consuming ByteBuffer, at revision: Int64, isOwed: Bool = false) {
    var response = HTTPResponse(status: 200, body: body)
    response.headers = HTTPResponse.headers(ofMoment: revision)
    response.isOwed = isOwed
    exchange.respond(response)
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {
    response = []
    kept.release()
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    let count = response.count + bytes.count
    guard !call.method.changesNothing || count <= MemoryAccount.uncounted || kept.set(to: count) else {
      response = []
      kept.release()
      shard.bridge.cancel(call)
      return exchange.refuse(.shortage)
    }
    response += bytes
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    let bytes = response
    response = []
    let hasRoom = kept.count == 0 || kept.hasRoom(for: Self.copies * bytes.count)
    // From here on what is made of it counts.
    kept.release()
    guard status.isOK else { return hasFailed(status) }
    guard hasRoom else { return exchange.refuse(.shortage) }
    answered(bytes)
  }
}
