internal import EtcdSchema
internal import SwiftProtobuf

/// The place of one `Lock` or `Campaign` in etcd's queue: a key, `NAME/LEASE` with the lease's ID in hexadecimal
/// (etcd's `concurrency` package).
///
/// With authentication on, etcd neither survives the end of a token while it waits nor takes its key back when the call
/// ends (etcd issue 13330). So the key is known beforehand: a call without a lease gets one made for it, as etcd would
/// make one, and can be repeated with a new token, as the key is the same. What a call has put into the queue is
/// deleted if the call comes to nothing. Belongs to one loop.
final class QueuePlace {
  private enum State {
    /// What has to be known beforehand is being asked for.
    case preparing
    /// etcd has the call.
    case waiting
    /// The key is being taken out of the queue; then the client hears of `verdict`, if it is still there.
    case leaving(verdict: GRPCStatus)
    case over
  }

  private static let grant = CallMethod(path: "/etcdserverpb.Lease/LeaseGrant", isRepeatable: false)
  private static let revoke = CallMethod(path: "/etcdserverpb.Lease/LeaseRevoke", isRepeatable: true)
  private static let range = CallMethod(path: "/etcdserverpb.KV/Range", isRepeatable: true)
  /// Whatever it deletes it may be asked to delete again.
  private static let txn = CallMethod(path: "/etcdserverpb.KV/Txn", isRepeatable: true)

  /// How long, in milliseconds, what is asked beside the call itself may take.
  private static let patience: UInt64 = 5000
  /// What etcd gives a lock without a lease (`defaultSessionTTL` of the `concurrency` package), in seconds.
  private static let timeToLive: Int64 = 60
  /// A token that was refused after so many milliseconds may have grown old while the call waited.
  private static let leastWait: UInt64 = 1000

  private unowned let bridge: Bridge
  /// Nil after the client has left.
  private weak var call: Call?
  /// With the password, which is kept while the call waits, as that may outlive its token.
  private let caller: Caller
  private let name: [UInt8]
  private var lease: Int64
  /// Whether the lease was made for this call.
  private let ownsLease: Bool
  private var state = State.preparing
  /// When it was last put on the wire.
  private var sentAt: UInt64 = 0

  private var key: [UInt8] { name + Array("/\(String(lease, radix: 16))".utf8) }

  /// - Returns: nil for a call that cannot be told apart by its request.
  init?(of call: Call, for caller: Caller, bridge: Bridge) {
    let message = Array(call.message.frame.dropFirst(CallMessage.headroom))
    if call.method.queue == .lock, let request = try? V3lockpb_LockRequest(serializedBytes: message) {
      (name, lease) = (Array(request.name), request.lease)
    } else if call.method.queue == .election, let request = try? V3electionpb_CampaignRequest(serializedBytes: message)
    {
      (name, lease) = (Array(request.name), request.lease)
    } else {
      return nil
    }
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
      var request = Etcdserverpb_LeaseGrantRequest()
      request.ttl = Self.timeToLive
      return ask(Self.grant, request) { [self] in granted($0) }
    }
    // Another call has put the key there, or will: it goes when the last of them leaves.
    guard bridge.queueKeys.enter(key) == nil else { return send() }
    var request = Etcdserverpb_RangeRequest()
    request.key = .init(key)
    request.countOnly = true
    ask(Self.range, request) { [self] in found($0) }
  }

  private func granted(_ result: Result<[UInt8], GRPCStatus>) {
    switch result {
    case .success(let bytes):
      lease = (try? Etcdserverpb_LeaseGrantResponse(serializedBytes: bytes))?.id ?? 0
      guard lease != 0 else { return end(GRPCStatus(.internal, "etcd answered a grant without a lease")) }
      guard let call else { return leave(GRPCStatus(.canceled)) }
      // The request's last field counts: its number is the same in both messages but for its own (`v3lock.proto`,
      // `v3election.proto`).
      var message = Array(call.message.frame.dropFirst(CallMessage.headroom))
      message.append(field: 2, varint: UInt64(bitPattern: lease))
      call.message = CallMessage(copying: message)
      send()
    case .failure(let status):
      end(status)
    }
  }

  private func found(_ result: Result<[UInt8], GRPCStatus>) {
    switch result {
    case .success(let bytes):
      let revision = (try? Etcdserverpb_RangeResponse(serializedBytes: bytes))?.header.revision
      if let revision { bridge.queueKeys.know(revision, of: key) }
    case .failure(let status):
      // Whatever etcd says of the call itself is the better answer.
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

  /// etcd has answered the call well.
  func isGranted() {
    // Whoever waits by the same key does not take it along any more.
    if !ownsLease, case .waiting = state { bridge.queueKeys.grant(key) }
    state = .over
  }

  /// Whether etcd has the call, or is about to get it.
  var isWaiting: Bool { if case .waiting = state { true } else { false } }

  /// Whether a refused token was good when the call went to etcd.
  var hasOutlivedToken: Bool { bridge.now - sentAt >= Self.leastWait }

  /// The call has been put on the wire, perhaps again.
  func isSent() { sentAt = bridge.now }

  /// The call has failed: takes its key out of the queue before the client hears of that, as it may well come again.
  ///
  /// - Returns: whether that is to be waited for.
  func giveUp(after status: GRPCStatus) -> Bool {
    guard case .waiting = state, let call, bridge.hold(call, for: 2 * Self.patience) else { return false }
    leave(status)
    return true
  }

  /// The client has left, and the call was cancelled.
  func abandon() {
    call = nil
    if case .waiting = state { leave(GRPCStatus(.canceled)) }
  }

  private func leave(_ verdict: GRPCStatus) {
    state = .leaving(verdict: verdict)
    if ownsLease {
      // A key that etcd is about to make fails for the want of it, too.
      var request = Etcdserverpb_LeaseRevokeRequest()
      request.id = lease
      return ask(Self.revoke, request) { [self] _ in left() }
    }
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
    state = .over
    // Whoever leaves has been counted out already. To a call that was never sent another one may have left the key.
    if !ownsLease, wasPreparing, let startRevision = bridge.queueKeys.leave(key) { takeOut(after: startRevision) {} }
  }

  // MARK: - Calls of its own

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

/// A call that a place makes for itself. The bridge keeps it until it ends.
final class QueueQuestion: CallDelegate {
  private(set) lazy var call = Call(
    method, message: CallMessage(copying: message), timeout: GRPCTimeout(milliseconds: timeout), delegate: self)
  private let method: CallMethod
  private let message: [UInt8]
  private let timeout: UInt64
  private let answer: (Result<[UInt8], GRPCStatus>) -> Void
  private var response: [UInt8] = []
  /// How large an answer may be, in bytes: none has more than a few numbers.
  private static let maxBytes = 64 << 10
  /// Called when it ends, before the answer.
  var onEnd: () -> Void = {}

  init(
    _ method: CallMethod, _ message: [UInt8], timeout: UInt64,
    answer: @escaping (Result<[UInt8], GRPCStatus>) -> Void
  ) {
    self.method = method
    self.message = message
    self.timeout = timeout
    self.answer = answer
    call.maxBytes = Self.maxBytes
  }

  func call(_ call: Call, willReceive length: Int) { response = [] }
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response += bytes }
  func call(_ call: Call, endedWith status: GRPCStatus) {
    onEnd()
    answer(status.isOK ? .success(response) : .failure(status))
  }
}
