import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Deletes a key, or all keys of a range.
final class KeyDeleteHandler: KeyCallHandler {
  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  private let request: KeyRequest
  private let condition: KeyCondition?
  private var change: KeyChange

  init(_ request: KeyRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    change = KeyChange(length: 0, isTransaction: false, shard.memory)
    condition = try KeyCondition(exchange.head)
    if condition != nil && request.operation == .deleteKeys {
      throw .badRequest("If-Match applies to one key, not to a range")
    }
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  func receivedEnd() {
    let range = request.range
    guard let condition else {
      var message = keyCallMessage()
      range.writeDeletion(to: &message)
      return start(KeyCalls.deleteRange, message, maxBytes: KeyCalls.maxSmall)
    }
    let count = ByteBuffer.wireCount(ofField: range.start.count)
    let message = condition.transaction(
      on: range.start.array, operationCount: ByteBuffer.wireCount(ofField: count)
    ) { message in
      message.append(field: Etcdserverpb_RequestOp.Field.requestDeleteRange, ofCount: count)
      range.writeDeletion(to: &message)
    }
    start(KeyCalls.txn, message)
  }

  private func respond() {
    let headers: HTTPResponse.Headers = [
      ("X-Etcd-Revision", "\(change.revision)"), ("Cache-Control", "no-cache"),
    ]
    if change.deletedCount == 0 && request.operation == .deleteKey {
      return exchange.respond(.keyNotFound(headers: headers))
    }
    var body = ByteBuffer()
    body.append("{\"deleted\":")
    body.append(decimal: change.deletedCount)
    body.append(",\"revision\":")
    body.append(decimal: change.revision)
    body.append("}")
    var response = HTTPResponse(status: 200, body: body)
    response.headers = headers
    exchange.respond(response)
  }
}

extension KeyDeleteHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    change = KeyChange(length: length, isTransaction: condition != nil, shard.memory)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { change.take(bytes) }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard status.isOK else { return respond(with: status) }
    do throws(WireError) {
      try change.finish()
    } catch {
      return respond(with: shard.misunderstood(error, for: exchange.id.text))
    }
    if change.hasSucceeded { respond() } else { respond(conflicting: change) }
  }
}
