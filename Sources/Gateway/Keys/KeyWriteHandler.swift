import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Puts a key whose value is the body, or whose key and value are in a body of JSON.
final class KeyWriteHandler: KeyCallHandler {
  /// The purpose of the call under way.
  private enum Step {
    case grant, put, revoke
  }

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  /// Whether the body has everything, as JSON.
  private let isJSON: Bool
  /// nil until the body that has it was read.
  private var put: KeyPut?
  /// The lease that was granted, or that the client has named.
  private var lease: Int64 = 0
  private var step = Step.put
  /// The body as far as it has come, unless it came in one piece.
  private var body = ByteBuffer()
  private var message: ByteBuffer?
  private var grant = LeaseGrant(length: 0)
  private var change: KeyChange
  /// Why the granted lease is revoked.
  private var failure: GRPCStatus?

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.exchange = exchange
    self.shard = shard
    change = KeyChange(length: 0, isTransaction: false, shard.memory)
    isJSON = request.operation == .putKey
    if isJSON {
      try exchange.head.checkHasNoConditions()
    } else {
      put = try KeyPut(request, exchange.head)
    }
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  // MARK: - The request

  var bodyLimit: BodyLimit? {
    isJSON ? nil : BodyLimit(bytes: shard.settings.maxValueBytes, flag: "--max-value-bytes")
  }

  var bodyUse: BodyUse { .whole }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    // A body in one piece is copied once, into the call; except if the lease is not known yet, which is part of the
    // call.
    if isWhole, let put, put.ttl == nil { message = encode(put, bytes) } else { body.append(bytes) }
  }

  func receivedEnd() {
    if isJSON {
      do throws(TranscodingError) {
        try readJSON()
      } catch {
        return exchange.refuse(.badBody(error))
      }
    }
    guard let ttl = put?.ttl else { return sendPut() }
    step = .grant
    var message = keyCallMessage()
    message.append(field: Etcdserverpb_LeaseGrantRequest.Field.ttl, ttl)
    start(KeyCalls.leaseGrant, message, maxBytes: KeyCalls.maxSmall)
  }

  private func readJSON() throws(TranscodingError) {
    let (put, value) = try body.withUnsafeBytes { bytes throws(TranscodingError) in
      try JSONDocument.read(bytes) { json throws(TranscodingError) in try KeyPut.read(&json, as: .request) }
    }
    self.put = put
    body.removeAll()
    body.append(value)
  }

  private func sendPut() {
    guard var put else { return }
    step = .put
    if put.ttl != nil { put.lease = lease }
    let message = self.message.take() ?? body.withUnsafeBytes { encode(put, $0) }
    body.removeAll()
    let hasKey = put.condition != nil || put.wantsPrevious
    start(
      put.condition == nil ? KeyCalls.put : KeyCalls.txn, message,
      maxBytes: hasKey ? Call.maxMessage : KeyCalls.maxSmall)
  }

  private func encode(_ put: KeyPut, _ value: UnsafeRawBufferPointer) -> ByteBuffer {
    let count = put.wireCount(of: value)
    guard let condition = put.condition else {
      var message = keyCallMessage(capacity: count)
      put.write(value, to: &message)
      return message
    }
    return condition.transaction(on: put.key, operationCount: ByteBuffer.wireCount(ofField: count)) { message in
      message.append(field: Etcdserverpb_RequestOp.Field.requestPut, ofCount: count)
      put.write(value, to: &message)
    }
  }

  // MARK: - The answer

  private func respond() {
    var body = ByteBuffer(capacity: 256)
    body.append("{\"revision\":")
    body.append(decimal: change.revision)
    if put?.ttl != nil {
      body.append(",\"lease\":\"")
      body.append(decimal: lease)
      body.append("\",\"ttl\":")
      body.append(decimal: grant.ttl)
    }
    if put?.wantsPrevious == true {
      body.append(",\"prev\":")
      if change.isFound { change.found.appendJSON(to: &body) } else { body.append("null") }
    }
    body.append("}")
    guard !change.found.isTooMuch else {
      return exchange.respond(.shortage(after: put?.condition == nil ? KeyCalls.put : KeyCalls.txn))
    }
    change.found.reset()
    var response = HTTPResponse(status: 200, body: body)
    // It reports what was done.
    response.isOwed = true
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
    guard put?.ttl != nil, status.isOK || status.isRefusal else { return respondFailed() }
    // The lease would never be used. But if the key may have been put all the same, revoking the lease would delete it.
    step = .revoke
    var message = keyCallMessage()
    message.append(field: Etcdserverpb_LeaseRevokeRequest.Field.id, lease)
    start(KeyCalls.leaseRevoke, message, maxBytes: KeyCalls.maxSmall)
  }
}

extension KeyWriteHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    switch step {
    case .grant: grant = LeaseGrant(length: length)
    case .put: change = KeyChange(length: length, isTransaction: put?.condition != nil, shard.memory)
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
    do throws(WireError) {
      switch step {
      case .grant where status.isOK:
        try grant.finish()
        lease = grant.lease
      case .put where status.isOK: try change.finish()
      default: break
      }
    } catch {
      status = shard.misunderstood(error, for: exchange.id.text)
    }
    switch step {
    case .grant: if status.isOK { sendPut() } else { respond(with: status) }
    case .put: putHasEnded(status)
    // If the revocation has failed, the lease expires by itself.
    case .revoke: respondFailed()
    }
  }
}
