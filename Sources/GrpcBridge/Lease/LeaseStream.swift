internal import EtcdSchema
internal import SwiftProtobuf

/// One user's stream of keepalives, through all the gRPC streams that take one another's place when they break.
///
/// Follows the etcd documentation, "etcd API", Lease API, and the behaviour of clientv3.
final class LeaseStream {
  /// Not repeatable by the channel: the stream itself knows what is still wanted.
  private static let method = CallMethod(
    path: "/etcdserverpb.Lease/LeaseKeepAlive", isRepeatable: false, isStream: true, requiresLeader: true)

  let credentials: CallCredentials
  private let basic: BasicCredentials?
  private let peer: String
  private unowned let keeper: LeaseKeeper
  private var call: Call?
  /// Who waits for an answer to what is yet to be asked, by lease: all of them are served by one request.
  private var wanted: [Int64: [KeepAlive]] = [:]
  /// Who waits for each answer that etcd owes, by lease and in the order of the requests.
  private var asked: [Int64: [[KeepAlive]]] = [:]
  private var response: [UInt8] = []
  /// When etcd answered last, or began to owe answers.
  private var lastNews: UInt64 = 0
  private var backoff = Backoff.stream
  /// Nothing is sent before.
  private var notBefore: UInt64 = 0
  /// Why the last gRPC stream ended; nil once another one was of use.
  private var trouble: GrpcStatus?
  /// A call whose token is no longer good.
  private var refused: Call?
  private var isPending = false
  private var isFinishing = false

  init(keeper: LeaseKeeper, credentials: CallCredentials, basic: BasicCredentials?, peer: String) {
    self.keeper = keeper
    self.credentials = credentials
    self.basic = basic
    self.peer = peer
  }

  // MARK: - Requests

  func add(_ keepAlive: KeepAlive, lease: Int64) {
    wanted[lease, default: []].append(keepAlive)
    hasToSend()
  }

  private func hasToSend() {
    guard !isPending, keeper.loop.now >= notBefore else { return }
    isPending = true
    keeper.hasToSend(self)
  }

  /// Asks for all that is wanted.
  func send() {
    isPending = false
    let now = keeper.loop.now
    guard now >= notBefore else { return }
    let batch = wanted
    wanted.removeAll(keepingCapacity: true)
    for (lease, keepAlives) in batch where keepAlives.contains(where: { !$0.isOver }) {
      if asked.isEmpty {
        lastNews = now
        keeper.wake(at: now + LeaseKeeper.mostSilence)
      }
      asked[lease, default: []].append(keepAlives)
      let request = Etcdserverpb_LeaseKeepAliveRequest.with { $0.id = lease }
      // Serialising a number cannot fail.
      let message = CallMessage(copying: (try? request.serializedBytes()) ?? [UInt8]())
      if let call {
        keeper.bridge.send(message, on: call)
      } else {
        let call = Call(Self.method, message: message, timeout: nil, delegate: self)
        self.call = call
        keeper.bridge.start(call, credentials: credentials, insteadOf: refused.take())
      }
    }
    if call == nil { keeper.ended(self) }
  }

  // MARK: - The clock

  /// Ends what has not been answered in time, and a stream that is of no use.
  ///
  /// - Returns: when to look again.
  func look(at now: UInt64) -> UInt64 {
    // All are found before the first one hears of it, as it may well ask again at once.
    for keepAlive in waiting where keepAlive.deadline <= now { keepAlive.expire(after: trouble) }
    guard let call else {
      if waiting.isEmpty { keeper.ended(self) } else { hasToSend() }
      return nextDeadline
    }
    let isIdle = asked.isEmpty && !isFinishing
    let limit = lastNews + (isIdle ? keeper.idleLimit : LeaseKeeper.mostSilence)
    guard now >= limit, !isPending else { return min(max(limit, now), nextDeadline) }
    if isIdle {
      // etcd takes the end of the requests for a proper end, and a reset for a fault.
      isFinishing = true
      lastNews = now
      keeper.finishes(self)
      keeper.bridge.finishSending(call)
      return now + LeaseKeeper.mostSilence
    }
    keeper.bridge.cancel(call)
    ended(call, GrpcStatus(.unavailable, "etcd has not answered keepalives for \(LeaseKeeper.mostSilence) ms"))
    return nextDeadline
  }

  private var waiting: [KeepAlive] {
    wanted.values.joined().filter { !$0.isOver } + asked.values.joined().joined().filter { !$0.isOver }
  }

  private var nextDeadline: UInt64 {
    let deadline = waiting.lazy.map(\.deadline).min() ?? .max
    return wanted.isEmpty || call != nil ? deadline : min(deadline, notBefore)
  }

  // MARK: - Ends

  /// Ends everything with an error.
  func close(_ status: GrpcStatus) {
    if let call { keeper.bridge.cancel(call) }
    call = nil
    let all = waiting
    wanted = [:]
    asked = [:]
    for keepAlive in all { keepAlive.finish(.failure(status)) }
  }

  /// The call has ended: what etcd owes is asked again, or ends with the call's error.
  private func ended(_ call: Call, _ status: GrpcStatus) {
    self.call = nil
    guard canAskAgain(after: status, of: call) else {
      let unanswered = asked.values.joined().joined().filter { !$0.isOver }
      asked = [:]
      // What was not part of it goes on.
      if wanted.isEmpty { keeper.ended(self) } else { hasToSend() }
      for keepAlive in unanswered { keepAlive.finish(.failure(status)) }
      return
    }
    for (lease, batches) in asked {
      let unanswered = batches.joined().filter { !$0.isOver }
      if !unanswered.isEmpty { wanted[lease, default: []].insert(contentsOf: unanswered, at: 0) }
    }
    asked = [:]
    guard !wanted.isEmpty else { return keeper.ended(self) }
    trouble = status
    if status.message == EtcdMessage.noLeader { keeper.bridge.leaveMember() }
    notBefore = keeper.loop.now + backoff.wait()
    keeper.wake(at: notBefore)
  }

  /// Whether another gRPC stream may fare better.
  private func canAskAgain(after status: GrpcStatus, of call: Call) -> Bool {
    if status.asksForNewToken && call.hasReceivedMessage, case .user = credentials {
      // Bad only since: what etcd refuses at once the bridge has seen to already.
      refused = call
      return true
    }
    switch status.code {
    case .ok, .internal: return true
    // A call that never was on the wire has found no connection within the time that calls wait for one.
    case .unavailable: return call.attempts > 0
    default: return false
    }
  }
}

extension LeaseStream: CallDelegate {
  func call(_ call: Call, willReceive length: Int) { response.removeAll(keepingCapacity: true) }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response += bytes }

  func callReceivedMessage(_ call: Call) {
    guard let lease = try? Etcdserverpb_LeaseKeepAliveResponse(serializedBytes: response).id else {
      keeper.bridge.cancel(call)
      return ended(call, GrpcStatus(.internal, "an answer of etcd to a keepalive is not understood"))
    }
    guard var batches = asked[lease] else { return }
    let answered = batches.removeFirst()
    asked[lease] = batches.isEmpty ? nil : batches
    lastNews = keeper.loop.now
    backoff.reset()
    trouble = nil
    if asked.isEmpty { keeper.wake(at: lastNews + keeper.idleLimit) }
    let result = Result<[UInt8], GrpcStatus>.success(response)
    for keepAlive in answered { keepAlive.finish(result) }
  }

  func call(_ call: Call, endedWith status: GrpcStatus) { ended(call, status) }

  func credentials(for call: Call) -> BasicCredentials { basic ?? BasicCredentials(user: "", password: "") }

  func peer(of call: Call) -> String { peer }
}
