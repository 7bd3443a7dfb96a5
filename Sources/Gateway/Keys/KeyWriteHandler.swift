import GrpcBridge
import Transcoding

/// Puts the body of a request as the value of a key.
final class KeyWriteHandler: KeyHandler {
  /// What the call under way is for.
  private enum Step {
    case grant, put, revoke
  }

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  private let request: KeyRequest
  private let condition: KeyCondition?
  /// The time to live of the lease that is to be granted, in seconds.
  private let ttl: Int64?
  private var lease: Int64
  private var step = Step.put
  /// The body as far as it has come, unless it came in one piece.
  private var body = ByteBuffer()
  private var message: ByteBuffer?
  private var grant = LeaseGrant(length: 0)
  private var change = KeyChange(length: 0, isTransaction: false)
  /// Why the lease is revoked that was granted.
  private var failure: GRPCStatus?

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    condition = try KeyCondition(exchange.head)
    lease = request.query.integer(.lease) ?? 0
    // Not shorter than was asked for.
    ttl = request.query.time(.ttl).map { Int64(($0 + 999) / 1000) }
    if ttl != nil && lease != 0 { throw .badRequest("'lease' is a lease that is there, 'ttl' a new one: choose one") }
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  // MARK: - The request

  var bodyLimit: BodyLimit? {
    BodyLimit(bytes: shard.settings.http.valueBytes, flag: "--max-value-bytes")
  }

  var keepsBody: Bool { true }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    // A body in one piece is copied once, into the call; but for the lease, which is part of it and not known yet.
    if isWhole && ttl == nil { message = encode(bytes) } else { body.append(bytes) }
  }

  func receivedEnd() {
    guard let ttl else { return put() }
    step = .grant
    var message = keyCallMessage()
    message.append(field: 1, ttl)
    start(KeyCalls.leaseGrant, message)
  }

  private func put() {
    step = .put
    let message = self.message.take() ?? body.withUnsafeBytes { encode($0) }
    body.removeAll()
    start(condition == nil ? KeyCalls.put : KeyCalls.txn, message)
  }

  private func encode(_ value: UnsafeRawBufferPointer) -> ByteBuffer {
    let key = request.range.start.array
    let prev = request.query.flag(.prev)
    // PutRequest (`etcdserverpb/kv.proto`).
    let count =
      ByteBuffer.wireCount(ofField: key.count) + ByteBuffer.wireCount(ofField: value.count)
      + ByteBuffer.wireCount(ofNumber: lease) + (prev ? 2 : 0)
    func write(_ message: inout ByteBuffer) {
      message.append(field: 1, key)
      message.append(field: 2, value)
      message.append(field: 3, lease)
      message.append(field: 4, prev)
    }
    guard let condition else {
      var message = keyCallMessage(capacity: count)
      write(&message)
      return message
    }
    return condition.transaction(on: key, operationCount: ByteBuffer.wireCount(ofField: count)) { message in
      message.append(field: 2, ofCount: count)
      write(&message)
    }
  }

  // MARK: - The answer

  private func respond() {
    var body = ByteBuffer(capacity: 64 + change.found.value.count * 4 / 3)
    body.append("{\"revision\":")
    body.append(decimal: change.revision)
    if ttl != nil {
      body.append(",\"lease\":\"")
      body.append(decimal: lease)
      body.append("\",\"ttl\":")
      body.append(decimal: grant.ttl)
    }
    if request.query.flag(.prev) {
      body.append(",\"prev\":")
      if change.isFound { change.found.appendJSON(to: &body) } else { body.append("null") }
    }
    body.append("}")
    var response = HTTPResponse(status: 200, body: body)
    response.headers = [
      ("ETag", EntityTag.text(change.revision)), ("X-Etcd-Revision", "\(change.revision)"),
      ("Cache-Control", "no-cache"),
    ]
    exchange.respond(response)
  }

  /// Answers that the key was not put.
  private func respondFailed() {
    if let failure { respond(with: failure) } else { respond(conflicting: change) }
  }

  private func putHasEnded(_ status: GRPCStatus) {
    if status.isOK && change.hasSucceeded { return respond() }
    failure = status.isOK ? nil : status
    guard ttl != nil, status.isOK || Self.isRefusal(status) else { return respondFailed() }
    // Nobody would ever use it. Where the key may have been put all the same, though, to revoke its lease would delete
    // it.
    step = .revoke
    var message = keyCallMessage()
    message.append(field: 1, lease)
    start(KeyCalls.leaseRevoke, message)
  }

  /// Whether etcd has said that it did not do what it was asked for, rather than nothing.
  private static func isRefusal(_ status: GRPCStatus) -> Bool {
    switch status.code {
    case .unavailable, .deadlineExceeded, .canceled, .unknown, .internal: false
    default: true
    }
  }
}

extension KeyWriteHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    switch step {
    case .grant: grant = LeaseGrant(length: length)
    case .put: change = KeyChange(length: length, isTransaction: condition != nil)
    case .revoke: break
    }
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    switch step {
    case .grant: grant.take(bytes)
    case .put: change.take(bytes)
    case .revoke: break
    }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    var status = status
    do throws(ProtobufPushParser.Malformed) {
      switch step {
      case .grant where status.isOK: lease = try grant.finish()
      case .put where status.isOK: try change.finish()
      default: break
      }
    } catch {
      status = shard.misunderstood(error)
    }
    switch step {
    case .grant: if status.isOK { put() } else { respond(with: status) }
    case .put: putHasEnded(status)
    // It ends by itself where that has failed, too.
    case .revoke: respondFailed()
    }
  }
}

/// What etcd answers to a `LeaseGrant`.
private struct LeaseGrant {
  private var events: ProtobufPushParser
  private var lease: Int64 = 0
  /// The time to live that the lease has got, in seconds.
  private(set) var ttl: Int64 = 0

  init(length: Int) { events = ProtobufPushParser(length: length, messages: []) }

  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while let event = events.next(&input) {
      switch event {
      case .number(path: 0x2, let number): lease = Int64(bitPattern: number)
      case .number(path: 0x3, let number): ttl = Int64(bitPattern: number)
      default: break
      }
    }
  }

  /// - Returns: the lease.
  func finish() throws(ProtobufPushParser.Malformed) -> Int64 {
    try events.finish()
    return lease
  }
}
