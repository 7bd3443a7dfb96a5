import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Grants, lists, shows or revokes leases.
final class LeaseHandler: KeyCallHandler {
  /// The operations that are one call; a renewal is not.
  enum Operation {
    case grant
    case list
    case get
    case revoke
  }

  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  let timeout: GRPCTimeout?
  var call: Call?
  private let operation: Operation
  private let request: LeaseRequest
  private var body = ByteBuffer()

  private var events = ProtobufPushParser(length: 0, messages: [])
  private var revision: Int64 = 0
  private var lease: Int64 = 0
  /// The remaining time, in seconds; for a lease that does not exist etcd says -1.
  private var ttl: Int64 = 0
  private var grantedTTL: Int64 = 0
  private var name = ByteBuffer()
  /// The keys or leases that have come, as JSON.
  private var list = ByteBuffer()
  /// Counts the bytes that have come, and the answer that is made of them.
  private var kept: KeptBytes
  private var isTooMuch = false

  init(_ operation: Operation, _ request: LeaseRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.operation = operation
    self.request = request
    self.exchange = exchange
    self.shard = shard
    kept = KeptBytes(shard.memory)
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard)
  }

  // MARK: - The request

  var bodyLimit: BodyLimit? { .ofLease(shard) }

  func received(_ bytes: UnsafeRawBufferPointer, isWhole: Bool) {
    if operation == .grant { body.append(bytes) }
  }

  func receivedEnd() {
    var message = keyCallMessage()
    switch operation {
    case .grant:
      do throws(TranscodingError) {
        try writeGrant(&message)
      } catch {
        return exchange.refuse(.badBody(error))
      }
      start(KeyCalls.leaseGrant, message, maxBytes: KeyCalls.maxSmall)
    case .list: start(KeyCalls.leaseLeases, message)
    case .get:
      message.append(field: Etcdserverpb_LeaseTimeToLiveRequest.Field.id, request.lease)
      message.append(field: Etcdserverpb_LeaseTimeToLiveRequest.Field.keys, request.wantsKeys)
      start(KeyCalls.leaseTimeToLive, message)
    case .revoke:
      message.append(field: Etcdserverpb_LeaseRevokeRequest.Field.id, request.lease)
      start(KeyCalls.leaseRevoke, message, maxBytes: KeyCalls.maxSmall)
    }
  }

  private enum Member: String, CaseIterable {
    case ttl
    case id

    static let table = JSONMembers(allCases)
  }

  private func writeGrant(_ message: inout ByteBuffer) throws(TranscodingError) {
    var (ttl, id): (Int64?, Int64) = (nil, 0)
    try body.withUnsafeBytes { bytes throws(TranscodingError) in
      try JSONDocument.read(bytes) { json throws(TranscodingError) in
        try json.object(Member.table) { json, member throws(TranscodingError) in
          switch member {
          case .ttl: ttl = try json.ttl()
          case .id: id = try json.lease()
          }
        }
        if ttl == nil { throw json.refusal("'ttl' is missing, such as \"60s\"") }
      }
    }
    message.append(field: Etcdserverpb_LeaseGrantRequest.Field.ttl, ttl ?? 0)
    message.append(field: Etcdserverpb_LeaseGrantRequest.Field.id, id)
  }

  // MARK: - The answer

  private func take(_ event: ProtobufPushParser.Event) {
    switch event {
    case .number(path: AnswerPath.revision, let number): revision = Int64(bitPattern: number)
    case .number(path: LeaseResponsePath.id, let number): lease = Int64(bitPattern: number)
    case .number(path: LeaseResponsePath.ttl, let number): ttl = Int64(bitPattern: number)
    case .number(path: LeaseResponsePath.grantedTTL, let number): grantedTTL = Int64(bitPattern: number)
    // A lease of the list.
    case .number(path: LeaseResponsePath.listedID, let number):
      list.append(list.isEmpty ? "{\"id\":\"" : ",{\"id\":\"")
      list.append(decimal: Int64(bitPattern: number))
      list.append("\"}")
      count()
    // A key.
    case .bytes(path: LeaseResponsePath.key, let bytes):
      name.append(bytes)
      count()
    case .end(path: LeaseResponsePath.key):
      // A byte becomes six characters at most.
      guard name.count <= MemoryAccount.uncounted || kept.hasRoom(for: 6 * name.count) else { return isTooMuch = true }
      list.append(list.isEmpty ? "{" : ",{")
      KeyValueFields.append(name, "\"key\":", "\"key_base64\":", to: &list)
      list.append("}")
      name.removeAll(keepingCapacity: name.count <= MemoryAccount.uncounted)
      count()
    default: break
    }
  }

  /// Counts the bytes: the list exists twice while the answer is made.
  private func count() {
    let sum = 2 * list.count + name.count
    if sum > MemoryAccount.uncounted && !kept.set(to: sum) { isTooMuch = true }
  }

  private func respond() {
    var json = ByteBuffer(capacity: 64 + list.count)
    switch operation {
    case .grant: json.appendLease(lease, ttl: ttl)
    case .list:
      json.append("{\"revision\":")
      json.append(decimal: revision)
      json.append(",\"leases\":[")
      list.withUnsafeBytes { json.append($0) }
      json.append("]")
    case .get:
      guard ttl >= 0 else { return respondMissing() }
      json.appendLease(request.lease, ttl: ttl)
      json.append(",\"granted_ttl\":")
      json.append(decimal: grantedTTL)
      if request.wantsKeys {
        json.append(",\"keys\":[")
        list.withUnsafeBytes { json.append($0) }
        json.append("]")
      }
    case .revoke:
      json.append("{\"revision\":")
      json.append(decimal: revision)
    }
    json.append("}")
    // From here on the exchange counts the answer.
    list.removeAll()
    kept.release()
    var response = HTTPResponse(status: 200, body: json)
    response.headers = HTTPResponse.headers(ofMoment: revision)
    response.isOwed = operation == .grant
    exchange.respond(response)
  }
}

extension LeaseHandler: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    // In a list, leases are messages; in the answer about one lease the same field is its ID.
    let messages = operation == .list ? [AnswerPath.header, LeaseResponsePath.listed] : [AnswerPath.header]
    events = ProtobufPushParser(length: length, messages: messages)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {
    var input = bytes
    while !isTooMuch, let event = events.next(&input) { take(event) }
    guard isTooMuch else { return }
    shard.bridge.cancel(call)
    exchange.refuse(.shortage)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard status.isOK else { return respond(with: status) }
    do throws(WireError) {
      try events.finish()
    } catch {
      return respond(with: shard.misunderstood(error, for: exchange.id.text))
    }
    respond()
  }
}

/// Renews a lease once.
final class LeaseRenewalHandler: KeyHandler {
  unowned let exchange: Exchange
  unowned let shard: Shard
  let caller: Caller
  private let timeout: GRPCTimeout?
  private let request: LeaseRequest
  private var renewal: KeepAliveRequest?

  init(_ request: LeaseRequest, exchange: Exchange, shard: Shard) throws(RequestError) {
    self.request = request
    self.exchange = exchange
    self.shard = shard
    timeout = try shard.settings.timeLimits.limit(of: exchange, waits: false)
    caller = try Caller(exchange, shard: shard, keepsPassword: true)
  }

  var bodyLimit: BodyLimit? { .ofLease(shard) }

  func receivedEnd() {
    renewal = renew(request.lease, within: timeout) { [unowned self] grant in
      var json = ByteBuffer()
      json.appendLease(request.lease, ttl: grant.ttl)
      json.append("}")
      var response = HTTPResponse(status: 200, body: json)
      response.headers = HTTPResponse.headers(ofMoment: grant.revision)
      exchange.respond(response)
    }
  }

  func clientIsGone() { renewal?.cancel() }
}

extension BodyLimit {
  fileprivate static func ofLease(_ shard: Shard) -> BodyLimit {
    BodyLimit(of: 4096, because: "the maximum for a lease", within: shard.settings.http)
  }
}

extension KeyHandler {
  /// Renews a lease once, on the stream with all renewals of the user. Answers with the error if that fails.
  ///
  /// - Parameters:
  ///   - timeout: the client's time limit; nil for the default.
  ///   - renewed: called after success.
  /// - Returns: the request to cancel if the client disconnects.
  func renew(
    _ lease: Int64, within timeout: GRPCTimeout?, renewed: @escaping (LeaseGrant) -> Void
  ) -> KeepAliveRequest {
    let timeout = timeout ?? shard.settings.timeLimits.standard
    return shard.bridge.leases.keepAlive(lease, for: caller, timeout: timeout.milliseconds) { [unowned self] result in
      switch result {
      case .success(let answer):
        var grant = LeaseGrant(length: answer.count)
        answer.withUnsafeBytes { grant.take($0) }
        do throws(WireError) {
          try grant.finish()
        } catch {
          return respond(with: shard.misunderstood(error, for: exchange.id.text))
        }
        if grant.ttl > 0 { renewed(grant) } else { respondMissing() }
      case .failure(let status): respond(with: status)
      }
    }
  }

  /// Answers that the lease does not exist, which etcd answers to some calls by a time to live.
  func respondMissing() { exchange.respond(.error(404, .notFound, EtcdMessage.leaseNotFound)) }
}

extension ByteBuffer {
  /// Appends the members of every lease; the brace stays open.
  fileprivate mutating func appendLease(_ lease: Int64, ttl: Int64) {
    append("{\"id\":\"")
    append(decimal: lease)
    append("\",\"ttl\":")
    append(decimal: ttl)
  }
}
