import ByteBuffers
import EtcdSchema
import GrpcBridge
import HTTPServer
import ProtobufWire
import Transcoding

/// Answers which client holds a lock, or leads.
final class QueueHolderHandler: QueueHandler {
  init(_ exchange: Exchange, shard: Shard) throws(RequestError) { try super.init(exchange, shard: shard) }

  override func receivedEnd() {
    askHolder { [unowned self] holder, revision in
      if let holder { return respond(holder.json(in: queue), at: revision) }
      exchange.respond(.error(404, .notFound, queue.isFree, headers: HTTPResponse.headers(ofMoment: revision)))
    }
  }
}

/// Releases a lock, or resigns: revokes the lease, which deletes the key.
final class QueueReleaseHandler: QueueHandler {
  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    try super.init(exchange, shard: shard, parameters: [.lease])
    guard let lease = query.integer(.lease), lease != 0 else {
      throw .badRequest("lease: expected the ID of the lease that holds the lock or leads")
    }
  }

  override func receivedEnd() {
    let lease = query.integer(.lease) ?? 0
    askHolder { [unowned self] holder, _ in
      guard let holder, holder.isOf(lease, in: queue) else {
        return exchange.respond(.error(404, .notFound, queue.isNotHeld(by: lease)))
      }
      revoke(lease)
    }
  }

  private func revoke(_ lease: Int64) {
    let request = Etcdserverpb_LeaseRevokeRequest.with { $0.id = lease }
    ask(KeyCalls.leaseRevoke, request) { [unowned self] (answer: Etcdserverpb_LeaseRevokeResponse) in
      var json = ByteBuffer()
      json.append("{\"revision\":")
      json.append(decimal: answer.header.revision)
      json.append("}")
      respond(json, at: answer.header.revision, isOwed: true)
    }
  }
}

/// The common part of handlers whose request's body names the lease of a lock's holder or of the leader.
class QueueLeaseHandler: QueueHandler {
  enum Member: String, CaseIterable {
    case lease
    case value
    case valueBase64 = "value_base64"

    static let withValue = JSONMembers(allCases)
    static let withoutValue = JSONMembers<Member>([.lease])
  }

  final private(set) var lease: Int64 = 0
  final private(set) var value: [UInt8] = []

  /// Whether the body has a value, too.
  var takesValue: Bool { false }

  /// The lease belongs to the holder or the leader: to be overridden.
  func isHeld(by holder: QueueHolder, at revision: Int64) {}

  final override func receivedEnd() {
    let members = takesValue ? Member.withValue : Member.withoutValue
    let request = read { json throws(TranscodingError) in
      var (lease, value): (Int64?, PlainBytes) = (nil, PlainBytes())
      try json.object(members) { json, member throws(TranscodingError) in
        switch member {
        case .lease: lease = try json.lease()
        case .value: try value.read(&json)
        case .valueBase64: try value.read(&json, isBase64: true)
        }
      }
      guard let lease else { throw json.refusal("'lease' is missing") }
      return (lease, takesValue ? try value.value(json) : [])
    }
    guard let request else { return }
    (lease, value) = request
    askHolder { [unowned self] holder, revision in
      if let holder, holder.isOf(lease, in: queue) { isHeld(by: holder, at: revision) } else { isNotHeld() }
    }
  }

  /// Answers that the lease does not hold the lock, or does not even exist.
  final func isNotHeld() {
    let request = Etcdserverpb_LeaseTimeToLiveRequest.with { $0.id = lease }
    ask(KeyCalls.leaseTimeToLive, request) { [unowned self] (answer: Etcdserverpb_LeaseTimeToLiveResponse) in
      if answer.ttl < 0 { return respondMissing() }
      exchange.respond(.error(409, .aborted, queue.isNotHeld(by: lease)))
    }
  }
}

/// Renews, once, the lease of a lock's holder or of the leader.
final class QueueRenewalHandler: QueueLeaseHandler {
  private var renewal: KeepAliveRequest?

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    try super.init(exchange, shard: shard, keepsPassword: true)
  }

  override func isHeld(by holder: QueueHolder, at revision: Int64) {
    renewal = renew(lease, within: timeout) { [unowned self] grant in
      respond(holder.json(in: queue, ttl: grant.ttl), at: grant.revision)
    }
  }

  override func clientIsGone() {
    renewal?.cancel()
    super.clientIsGone()
  }
}

/// Changes the leader's value.
final class ProclaimHandler: QueueLeaseHandler {
  /// The error of etcd's election service for a client that no longer leads.
  private static let isNotLeader = "election: not leader"

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) { try super.init(exchange, shard: shard) }

  override var takesValue: Bool { true }
  override var bodyUse: BodyUse { .whole }
  override var bodyLimit: BodyLimit? { nil }

  override func isHeld(by holder: QueueHolder, at revision: Int64) {
    let request = V3electionpb_ProclaimRequest.with {
      $0.leader.name = .init(queue.bytes)
      $0.leader.key = .init(holder.key)
      $0.leader.rev = holder.revision
      $0.leader.lease = lease
      $0.value = .init(value)
    }
    ask(KeyCalls.proclaim, request) { [unowned self] (answer: V3electionpb_ProclaimResponse) in
      let holder = QueueHolder(key: holder.key, value: value, lease: lease, revision: holder.revision)
      respond(holder.json(in: queue), at: answer.header.revision, isOwed: true)
    }
  }

  override func hasFailed(_ status: GRPCStatus) {
    guard status.origin == .server, status.message == Self.isNotLeader else { return super.hasFailed(status) }
    exchange.respond(.error(409, .aborted, queue.isNotHeld(by: lease)))
  }
}
