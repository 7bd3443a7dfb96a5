import EtcdSchema
import GrpcBridge
import HTTPServer
import SwiftProtobuf
import Transcoding

/// The common part of handlers that wait for a lock, or for leadership, with a lease that is granted for it.
///
/// It counts as a stream while it waits: there may be as many waiting clients as watches, for as long.
class QueueEntryHandler: QueueHandler {
  enum Member: String, CaseIterable {
    case ttl
    case wait
    case value
    case valueBase64 = "value_base64"

    static let withValue = JSONMembers(allCases)
    static let withoutValue = JSONMembers<Member>([.ttl, .wait])
  }

  /// The client's time limit for everything, in milliseconds.
  private let limit: UInt64
  private var place: OpenStreams.Place?
  final private(set) var value: [UInt8] = []

  init(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    limit = try shard.settings.timeLimits.limit(of: exchange, waits: true)?.milliseconds ?? .max
    try super.init(exchange, shard: shard)
  }

  /// Whether the body has a value, too.
  var takesValue: Bool { false }
  override var isEndless: Bool { true }

  /// The request is valid: to be overridden.
  func enter(_ ticket: QueueTicket) {}

  final override func receivedEnd() {
    let members = takesValue ? Member.withValue : Member.withoutValue
    let request = read { json throws(TranscodingError) in
      var (ttl, wait, value): (Int64?, UInt64, PlainBytes) = (nil, 0, PlainBytes())
      try json.object(members) { json, member throws(TranscodingError) in
        switch member {
        case .ttl: ttl = try json.ttl()
        case .wait: wait = try json.wait()
        case .value: try value.read(&json)
        case .valueBase64: try value.read(&json, isBase64: true)
        }
      }
      guard let ttl else { throw json.refusal("'ttl' is missing, such as \"60s\"") }
      return (ttl, wait, takesValue ? try value.value(json) : [])
    }
    guard let (ttl, wait, value) = request else { return }
    self.value = value
    do throws(RequestError) {
      if wait > 0 { place = try shard.streams.admit(self, heartbeat: nil, timeout: nil) }
    } catch {
      return exchange.refuse(error)
    }
    enter(QueueTicket(ttl: ttl, wait: min(wait, limit)))
  }

  /// Answers that the client holds the lock, or leads.
  final func respond(_ key: some Sequence<UInt8>, _ ticket: QueueTicket, at revision: Int64) {
    let holder = QueueHolder(key: Array(key), value: value, lease: ticket.lease, revision: ticket.revision)
    respond(holder.json(in: queue, ttl: ticket.grantedTTL), at: revision, isOwed: true)
  }
}

extension QueueEntryHandler: OpenStream {
  // The shard itself gives up the call.
  func gatewayStops() {}
  func beat() {}
  func expire() {}
}

/// Acquires a lock.
final class LockHandler: QueueEntryHandler {
  override func enter(_ ticket: QueueTicket) {
    let request = V3lockpb_LockRequest.with { $0.name = .init(queue.bytes) }
    ask(KeyCalls.lock, request, ticket: ticket) { [unowned self] (answer: V3lockpb_LockResponse) in
      respond(answer.key, ticket, at: answer.header.revision)
    }
  }
}

/// Campaigns in an election.
final class CampaignHandler: QueueEntryHandler {
  override var takesValue: Bool { true }
  override var bodyUse: BodyUse { .whole }
  override var bodyLimit: BodyLimit? { nil }

  override func enter(_ ticket: QueueTicket) {
    let request = V3electionpb_CampaignRequest.with {
      $0.name = .init(queue.bytes)
      $0.value = .init(value)
    }
    ask(KeyCalls.campaign, request, ticket: ticket) { [unowned self] (answer: V3electionpb_CampaignResponse) in
      respond(answer.leader.key, ticket, at: answer.header.revision)
    }
  }
}
