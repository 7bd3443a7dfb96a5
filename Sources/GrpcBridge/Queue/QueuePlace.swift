internal import EtcdSchema
import EventLoop
import ProtobufWire
internal import SwiftProtobuf

/// The place of one `Lock` or `Campaign` in etcd's queue: a key (``QueueKey``).
///
/// With authentication on, etcd's wait neither survives the end of a token nor takes its key back when the call ends
/// (etcd issue 13330). So this place knows the key beforehand: for a call without a lease it makes one, as etcd would,
/// and the call can be repeated with a new token, as the key is the same. If the call fails, the place deletes what the
/// call has put into the queue. While the call waits, the place keeps a lease alive that it has made. Belongs to one
/// loop.
final class QueuePlace {
  private enum State {
    /// The place makes a lease, or asks etcd for what it has to know beforehand.
    case preparing
    /// etcd has the call, or is about to get it.
    case waiting
    /// The place removes the key from the queue; then the client gets `verdict`, if it is still connected.
    case leaving(verdict: GRPCStatus)
    case over
  }

  private static let grant = CallMethod(EtcdRPC.leaseGrant.traits, isRepeatable: false)
  private static let revoke = EtcdRPC.leaseRevoke.method
  private static let range = EtcdRPC.range.method
  /// Made on behalf of a user; it reads nothing. Repeating it is safe: it only deletes.
  private static let txn = CallMethod(EtcdRPC.txn.traits, isRepeatable: true, userNeed: UserNeed.none, runsToEnd: false)
  /// If it is repeated, its key may exist already; then it only reads.
  private static let attempt = CallMethod(EtcdRPC.txn.traits, isRepeatable: true)

  /// The time limit, in milliseconds, of the place's own calls.
  private static let patience: UInt64 = 5000
  /// The time to live that etcd gives a lock without a lease (`defaultSessionTTL` of the `concurrency` package), in
  /// seconds.
  private static let timeToLive: Int64 = 60
  /// A token that is refused after so many milliseconds may have expired while the call waited.
  private static let leastWait: UInt64 = 1000
  /// A lease is renewed three times in its time to live, of which so many seconds count at most.
  private static let longestLife: Int64 = 86_400

  private unowned let bridge: Bridge
  /// Nil after the client has disconnected.
  private weak var call: Call?
  /// With the password, which is kept while the call waits, as the wait may outlive the token.
  private let caller: Caller
  private let name: [UInt8]
  /// The value of a candidate's key.
  private let value: [UInt8]
  /// What the maker of the call wants beyond what the request says.
  private let ticket: QueueTicket?
  private let kind: QueueKind
  private var lease: Int64
  /// Whether the lease was made for this call.
  private let ownsLease: Bool
  private var state = State.preparing
  /// When the call was last sent.
  private var sentAt: UInt64 = 0
  /// Renews a lease that was made for this call.
  private var renewing: LoopTimer?
  private var renewal: KeepAliveRequest?

  private var key: [UInt8] { QueueKey.key(of: lease, in: name) }

  /// - Returns: nil if the call waits in no queue, or its request cannot be read.
  init?(of call: Call, for caller: Caller, bridge: Bridge) {
    let message = Array(call.message.frame.dropFirst(CallMessage.headroom))
    if call.method.queue == .lock, let request = try? V3lockpb_LockRequest(serializedBytes: message) {
      (kind, name, lease, value) = (.lock, Array(request.name), request.lease, [])
    } else if call.method.queue == .election, let request = try? V3electionpb_CampaignRequest(serializedBytes: message)
    {
      (kind, name, lease, value) = (.election, Array(request.name), request.lease, Array(request.value))
    } else {
      return nil
    }
    ticket = call.ticket
    self.bridge = bridge
    self.call = call
    if case .user(let user) = caller.credentials, let basic = user.source.basicCredentials {
      let kept = UserCredentials(user.key, from: KeptPassword(basic), areOwn: user.areOwn)
      self.caller = Caller(.user(kept), peer: caller.peer)
    } else {
      self.caller = caller
    }
    ownsLease = lease == 0
  }

  // MARK: - Before the call

  func prepare() {
    if ownsLease {
      // Chosen here, so that the lease can be revoked even if the answer to its grant is lost.
      lease = .random(in: 1 ... .max)
      var request = Etcdserverpb_LeaseGrantRequest()
      request.ttl = ticket?.ttl ?? Self.timeToLive
      request.id = lease
      return ask(Self.grant, request) { [self] in granted($0) }
    }
    // Another call has put the key there, or will: the last of them removes it.
    guard bridge.queueKeys.enter(key) == nil else { return send() }
    var request = Etcdserverpb_RangeRequest()
    request.key = .init(key)
    request.countOnly = true
    ask(Self.range, request) { [self] in found($0) }
  }

  private func granted(_ result: Result<[UInt8], GRPCStatus>) {
    switch result {
    case .success(let bytes):
      let grant = try? Etcdserverpb_LeaseGrantResponse(serializedBytes: bytes)
      guard let grant, grant.id != 0 else {
        return end(GRPCStatus(.internal, "etcd answered a grant without a lease"))
      }
      lease = grant.id
      guard let call else { return leave(GRPCStatus(.canceled)) }
      keepLeaseAlive(for: grant.ttl)
      // If a field occurs twice, the last one counts. Its number is the same in both messages (`v3lock.proto`,
      // `v3election.proto`).
      var message = Array(call.message.frame.dropFirst(CallMessage.headroom))
      message.append(field: V3lockpb_LockRequest.Field.lease, lease)
      call.message = CallMessage(copying: message)
      guard let ticket else { return send() }
      (ticket.lease, ticket.grantedTTL) = (lease, grant.ttl)
      attempt(ticket)
    case .failure(let status):
      if status.mayHaveBeenExecuted { revokeLease {} }
      end(status)
    }
  }

  // MARK: - With a ticket

  /// Puts the key into the queue as etcd's lock service would, which then finds it there, and reads which key is the
  /// first: only so the place knows, without waiting, whether there is anything to wait for.
  private func attempt(_ ticket: QueueTicket) {
    let own = Etcdserverpb_RequestOp.with {
      $0.requestRange = .with {
        $0.key = .init(key)
        // A candidate's value may be large: it is not needed.
        $0.keysOnly = true
      }
    }
    let queue = QueueKey.range(of: name)
    let first = Etcdserverpb_RequestOp.with {
      $0.requestRange = .with {
        $0.key = .init(queue.start)
        $0.rangeEnd = .init(queue.end)
        $0.limit = 1
        $0.sortTarget = .create
        $0.sortOrder = .ascend
        $0.keysOnly = true
      }
    }
    let put = Etcdserverpb_RequestOp.with {
      $0.requestPut = .with {
        $0.key = .init(key)
        $0.value = .init(value)
        $0.lease = lease
      }
    }
    var request = Etcdserverpb_TxnRequest()
    request.compare = [
      .with {
        $0.key = .init(key)
        // A client that does not wait is never in a queue with others.
        if ticket.wait == 0 { ($0.key, $0.rangeEnd) = (.init(queue.start), .init(queue.end)) }
        $0.target = .create
        $0.result = .equal
        $0.createRevision = 0
      }
    ]
    request.success = [put, own, first]
    request.failure = [own, first]
    ask(Self.attempt, request) { [self] in attempted($0, ticket) }
  }

  private func attempted(_ result: Result<[UInt8], GRPCStatus>, _ ticket: QueueTicket) {
    guard let call else { return leave(GRPCStatus(.canceled)) }
    switch result {
    case .success(let bytes):
      let ranges = (try? Etcdserverpb_TxnResponse(serializedBytes: bytes))?.responses.suffix(2).map(\.responseRange)
      guard let first = ranges?.last?.kvs.first, let own = ranges?.first?.kvs.first else {
        let isRefused = ticket.wait == 0 && ranges?.last?.kvs.isEmpty == false
        return leave(isRefused ? isHeld : GRPCStatus(.internal, "etcd answered without the key that was put"))
      }
      ticket.revision = own.createRevision
      ticket.isBehindAnother = first.key != own.key
      guard ticket.isBehindAnother else { return send() }
      guard ticket.wait > 0 else { return leave(isHeld) }
      call.deadline = bridge.now + ticket.wait
      send()
    case .failure(let status):
      leave(status)
    }
  }

  /// The answer for a client whose wait is over.
  private var isHeld: GRPCStatus {
    var reason = kind == .lock ? "another client holds the lock" : "another client leads"
    if let wait = ticket?.wait, wait > 0 {
      reason += ", and has not released it within \(wait.isMultiple(of: 1000) ? "\(wait / 1000)s" : "\(wait)ms")"
    }
    return GRPCStatus(.aborted, reason)
  }

  // MARK: - The lease

  private func keepLeaseAlive(for ttl: Int64) {
    let interval = UInt64(min(max(1, ttl), Self.longestLife)) * 1000 / 3
    let timer = LoopTimer(loop: bridge.loop) { [unowned self] in renew(within: interval) }
    timer.start(after: interval, every: interval)
    renewing = timer
  }

  private func renew(within timeout: UInt64) {
    renewal = bridge.leases.keepAlive(lease, for: caller, timeout: timeout) { [weak self] result in
      // Whatever the failure, the next renewal may succeed.
      guard case .success(let bytes) = result,
        let answer = try? Etcdserverpb_LeaseKeepAliveResponse(serializedBytes: bytes), answer.ttl <= 0, let self,
        let call
      else { return }
      bridge.giveUp(call, with: GRPCStatus(.aborted, "the lease of the waiting call has ended"))
    }
  }

  private func stopRenewing() {
    renewing = nil
    renewal?.cancel()
    renewal = nil
  }

  private func revokeLease(completion: @escaping () -> Void) {
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = lease
    ask(Self.revoke, request) { _ in completion() }
  }

  private func found(_ result: Result<[UInt8], GRPCStatus>) {
    switch result {
    case .success(let bytes):
      let revision = (try? Etcdserverpb_RangeResponse(serializedBytes: bytes))?.header.revision
      if let revision { bridge.queueKeys.know(revision, of: key) }
    case .failure(let status):
      // If etcd refuses the read, its answer to the call itself is the better one.
      guard status.origin == .server else { return end(status) }
    }
    send()
  }

  private func send() {
    guard let call else { return over() }
    state = .waiting
    bridge.forward(call, for: caller)
  }

  // MARK: - After the call

  /// etcd has granted the call.
  func isGranted() {
    // From now on another call that waits by the same key must not delete it.
    if !ownsLease, case .waiting = state { bridge.queueKeys.grant(key) }
    stopRenewing()
    state = .over
  }

  /// Whether etcd has the call, or is about to get it.
  var isWaiting: Bool { if case .waiting = state { true } else { false } }

  /// Whether a refused token was valid when the call was sent.
  var hasOutlivedToken: Bool { bridge.now - sentAt >= Self.leastWait }

  /// The call was sent, perhaps again.
  func isSent() { sentAt = bridge.now }

  /// The call has failed: removes its key from the queue before the client is notified, as the client may try again at
  /// once.
  ///
  /// - Returns: whether the call has to wait for that.
  func giveUp(after status: GRPCStatus) -> Bool {
    guard case .waiting = state, let call, bridge.hold(call, for: 2 * Self.patience) else { return false }
    leave(status.code == .deadlineExceeded && ticket?.isBehindAnother == true ? isHeld : status)
    return true
  }

  /// The client has disconnected, and the call was cancelled.
  func abandon() {
    call = nil
    if case .waiting = state { leave(GRPCStatus(.canceled)) }
  }

  private func leave(_ verdict: GRPCStatus) {
    state = .leaving(verdict: verdict)
    stopRenewing()
    // If etcd is still about to make the key, it fails without the lease.
    if ownsLease { return revokeLease { [self] in left() } }
    guard let startRevision = bridge.queueKeys.leave(key) else { return left() }
    takeOut(after: startRevision) { [self] in left() }
  }

  /// Deletes the key if it was created after a revision.
  private func takeOut(after startRevision: Int64, completion: @escaping () -> Void) {
    var request = Etcdserverpb_TxnRequest()
    request.compare = [
      .with {
        $0.key = .init(key)
        $0.target = .create
        $0.result = .greater
        $0.createRevision = startRevision
      }
    ]
    request.success = [.with { $0.requestDeleteRange.key = .init(key) }]
    ask(Self.txn, request) { _ in completion() }
  }

  private func left() {
    if case .leaving(let verdict) = state { end(verdict) }
  }

  private func end(_ status: GRPCStatus) {
    let call = call
    over()
    if let call { bridge.end(call, with: status) }
  }

  private func over() {
    let wasPreparing = if case .preparing = state { true } else { false }
    stopRenewing()
    state = .over
    // If the place is leaving, the call has been counted out already. A call that was never sent may have been left the
    // key by another one.
    if !ownsLease, wasPreparing, let startRevision = bridge.queueKeys.leave(key) { takeOut(after: startRevision) {} }
  }

  // MARK: - Calls of the place

  private func ask(
    _ method: CallMethod, _ request: some Message, answer: @escaping (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    do {
      let question = QueueQuestion(method, try request.encoded(), timeout: Self.patience, answer: answer)
      bridge.ask(question, for: caller)
    } catch {
      answer(.failure(error))
    }
  }
}
