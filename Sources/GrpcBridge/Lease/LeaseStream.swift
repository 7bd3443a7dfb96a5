internal import DequeModule
internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// One user's stream of keepalives. It consists of gRPC streams, one after the other, as they break.
///
/// Follows the etcd documentation, "etcd API", Lease API, and the behaviour of clientv3.
final class LeaseStream {
  /// The channel must not repeat it: this object knows which requests are still wanted.
  private static let method = method(.none)
  private static let methodForUsers = method(.proven)

  private static func method(_ userNeed: UserNeed) -> CallMethod {
    CallMethod(EtcdRPC.leaseKeepAlive.traits, isRepeatable: false, isResumable: true, userNeed: userNeed)
  }

  /// How large an answer may be, in bytes.
  private static let maxBytes = 1 << 16
  /// How precisely deadlines are kept, in milliseconds.
  private static let tick: UInt64 = 25

  let caller: Caller
  private unowned let keeper: LeaseKeeper
  private var call: Call?
  private var leases: [Int64: KeepAliveWaiters] = [:]
  /// How many requests are not over.
  private var requestCount = 0
  /// The leases to send next: a caller waits for them, and etcd owes no answer about them.
  private var due: [Int64] = []
  /// How many answers etcd owes.
  private var owed = 0
  /// The leases that were sent on the present gRPC stream, in that order, in which etcd answers.
  private var order: Deque<Int64> = []
  /// Whether the last gRPC stream ended with an error of etcd's before any answer.
  private var hasFailedAtOnce = false
  private var response: [UInt8] = []
  /// When etcd last answered, or began to owe answers.
  private var lastNews: UInt64 = 0
  private var backoff = Backoff.stream
  /// Nothing is sent before this time.
  private var notBefore: UInt64 = 0
  /// Why the last gRPC stream ended; nil once another one was of use.
  private var trouble: GRPCStatus?
  /// A call whose token is no longer valid.
  private var refused: Call?
  private var isPending = false
  /// Whether etcd is being asked if authentication is still off.
  private var isAsking = false
  /// When the timer fires.
  private var wakeTime = UInt64.max
  private lazy var timer = LoopTimer(loop: keeper.loop) { [unowned self] in look() }

  /// The requests that wait for one lease. However many these are, etcd owes at most one answer for it.
  private struct KeepAliveWaiters {
    /// The requests that wait for the answer that etcd owes; nil if it owes none.
    var asked: [KeepAliveRequest]?
    /// The requests that came too late for that answer, which may describe a time before them: they get the next one.
    var wanted: [KeepAliveRequest] = []

    var all: [KeepAliveRequest] { (asked ?? []) + wanted }
  }

  init(keeper: LeaseKeeper, caller: Caller) {
    self.keeper = keeper
    self.caller = caller
  }

  // MARK: - Requests

  func add(_ keepAlive: KeepAliveRequest, lease: Int64) {
    requestCount += 1
    if requestCount == 1 { keeper.isUsed(self) }
    wake(at: keepAlive.deadline)
    leases[lease, default: KeepAliveWaiters()].wanted.append(keepAlive)
    guard let waiters = leases[lease], waiters.asked == nil, waiters.wanted.count == 1 else { return }
    due.append(lease)
    hasToSend()
  }

  /// A request is over.
  func isLeft() {
    requestCount -= 1
    if requestCount == 0 { keeper.isUnused(self) }
  }

  private func hasToSend() {
    guard !isPending, keeper.loop.now >= notBefore else { return }
    isPending = true
    keeper.hasToSend(self)
  }

  /// Sends all leases that are due.
  func send() {
    isPending = false
    let now = keeper.loop.now
    guard now >= notBefore else { return }
    forgetWhatIsOver()
    if let call, !due.isEmpty, !keeper.bridge.admits(call) {
      // etcd answers what it owes first, whatever follows.
      if owed == 0 { ask(about: call) }
      return
    }
    let batch = due
    due.removeAll(keepingCapacity: true)
    for lease in batch {
      guard let wanted = leases[lease]?.wanted else { continue }
      if owed == 0 {
        lastNews = now
        wake(at: now + LeaseKeeper.maxSilence)
      }
      owed += 1
      order.append(lease)
      leases[lease] = KeepAliveWaiters(asked: wanted)
      let request = Etcdserverpb_LeaseKeepAliveRequest.with { $0.id = lease }
      let message = CallMessage(copying: request.encodedSmall())
      if let call {
        keeper.bridge.send(message, on: call)
      } else {
        let call = Call(
          keeper.needsUsers ? Self.methodForUsers : Self.method, message: message, timeout: nil, delegate: self)
        call.maxBytes = Self.maxBytes
        self.call = call
        keeper.bridge.start(call, for: caller, insteadOf: refused.take())
      }
    }
    if call == nil && leases.isEmpty { keeper.ended(self) }
  }

  /// Takes out of the leases that are due those that no caller waits for.
  private func forgetWhatIsOver() {
    due.removeAll { lease in
      leases[lease]?.wanted.removeAll(where: \.isOver)
      guard leases[lease]?.wanted.isEmpty != false else { return false }
      leases[lease] = nil
      return true
    }
  }

  /// The gRPC stream may have no more requests before etcd has said that authentication is off. If it is on, they go on
  /// another one, whose caller etcd has to know.
  private func ask(about call: Call) {
    guard !isAsking else { return }
    isAsking = true
    lastNews = keeper.loop.now
    keeper.bridge.askForUsers { [self] status in
      isAsking = false
      if call === self.call { heard(status, about: call) }
      hasToSend()
    }
  }

  private func heard(_ status: GRPCStatus, about call: Call) {
    if AccessQuestion.isNo(status) {
      self.call = nil
      order = []
      keeper.finish(call)
    } else if !AccessQuestion.isYes(status) {
      // etcd is asked again, until the requests are over.
      trouble = status
      notBefore = keeper.loop.now + backoff.wait()
      wake(at: notBefore)
    }
  }

  /// Takes out the requests that wait for the answer about a lease; later requests are next.
  private func settle(_ lease: Int64) -> [KeepAliveRequest]? {
    guard let waiters = leases[lease], let asked = waiters.asked else { return nil }
    owed -= 1
    if let index = order.firstIndex(of: lease) { order.removeFirst(index + 1) }
    if waiters.wanted.isEmpty {
      leases[lease] = nil
    } else {
      leases[lease] = KeepAliveWaiters(wanted: waiters.wanted)
      due.append(lease)
      hasToSend()
    }
    return asked
  }

  // MARK: - The clock

  /// Has the clock checked at `time` at the latest.
  private func wake(at time: UInt64) {
    guard time < wakeTime else { return }
    wakeTime = time
    timer.start(after: time - min(time, keeper.loop.now))
  }

  /// Ends the requests that were not answered in time, and a gRPC stream that is of no use.
  private func look() {
    wakeTime = .max
    let now = keeper.loop.now
    var expired: [KeepAliveRequest] = []
    var next = UInt64.max
    for waiters in leases.values {
      for keepAlive in waiters.all where !keepAlive.isOver {
        if keepAlive.deadline <= now { expired.append(keepAlive) } else { next = min(next, keepAlive.deadline) }
      }
    }
    // All are collected before the first is notified: its caller may send another one at once.
    for keepAlive in expired { keepAlive.expire(after: trouble) }
    next = min(next, lookAtCall(at: now))
    // Deadlines that are close together are handled by one event.
    wake(at: max(next, now + Self.tick))
  }

  /// Does what is due, apart from the deadlines of requests.
  ///
  /// - Returns: when to check again.
  private func lookAtCall(at now: UInt64) -> UInt64 {
    if call == nil || !due.isEmpty { hasToSend() }
    let next = now < notBefore ? notBefore : .max
    guard let call else { return next }
    let limit = lastNews + (owed == 0 ? keeper.idleLimit : LeaseKeeper.maxSilence)
    guard now >= limit, !isPending, owed > 0 || due.isEmpty else { return min(limit, next) }
    if owed == 0 {
      end()
    } else {
      keeper.bridge.cancel(call)
      ended(call, GRPCStatus(.unavailable, "etcd has not answered keepalives for \(LeaseKeeper.maxSilence) ms"))
    }
    return .max
  }

  // MARK: - Ends

  /// Ends the stream, which no client waits for.
  func end() {
    if let call {
      self.call = nil
      if owed == 0 { keeper.finish(call) } else { keeper.bridge.cancel(call) }
    }
    leases = [:]
    due = []
    order = []
    owed = 0
    keeper.ended(self)
  }

  /// Ends everything with an error.
  func close(_ status: GRPCStatus) {
    if let call { keeper.bridge.cancel(call) }
    call = nil
    let all = leases.values.flatMap(\.all)
    leases = [:]
    due = []
    for keepAlive in all { keepAlive.finish(.failure(status)) }
  }

  /// The call has ended: what etcd owes is sent again, or ends with the call's error.
  private func ended(_ call: Call, _ status: GRPCStatus) {
    self.call = nil
    owed = 0
    let culprit = culprit(of: status, call)
    order = []
    let mayAskAgain = culprit != nil || canAskAgain(after: status, of: call)
    var unanswered: [KeepAliveRequest] = []
    for (lease, waiters) in leases {
      guard let asked = waiters.asked else { continue }
      var again: [KeepAliveRequest] = []
      for keepAlive in asked where !keepAlive.isOver {
        if status.isLoss { keepAlive.losses += 1 }
        // The request may be what ends etcd: two members are enough to know.
        if mayAskAgain && lease != culprit && keepAlive.losses < RetryPolicy.maxLosses {
          again.append(keepAlive)
        } else {
          unanswered.append(keepAlive)
        }
      }
      let wanted = again + waiters.wanted
      leases[lease] = wanted.isEmpty ? nil : KeepAliveWaiters(wanted: wanted)
      if !wanted.isEmpty { due.append(lease) }
    }
    if due.isEmpty {
      keeper.ended(self)
    } else if mayAskAgain {
      trouble = status
      notBefore = keeper.loop.now + backoff.wait()
      wake(at: notBefore)
    } else {
      // The other leases are not affected.
      hasToSend()
    }
    for keepAlive in unanswered { keepAlive.finish(.failure(status)) }
  }

  /// The lease because of which etcd has ended a stream: etcd answers requests one by one, so it is the first without
  /// an answer. Nil if the error does not concern a single request, or comes twice in a row, as it would for all that
  /// follow.
  private func culprit(of status: GRPCStatus, _ call: Call) -> Int64? {
    guard !status.isOK, status.mayBeOfOneRequest else { return nil }
    let isFirst = call.hasReceivedMessage || !hasFailedAtOnce
    hasFailedAtOnce = !call.hasReceivedMessage
    return isFirst ? order.first : nil
  }

  /// Whether another gRPC stream may fare better.
  private func canAskAgain(after status: GRPCStatus, of call: Call) -> Bool {
    if status.asksForNewToken && call.hasReceivedMessage, case .user = caller.credentials {
      // The token went bad during the stream: if etcd refuses one at once, the bridge has renewed it already.
      refused = call
      return true
    }
    switch status.code {
    case .ok, .internal: return true
    // A call that was never on the wire has found no connection within the time limit for one.
    case .unavailable: return call.retry.attempts > 0
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
      return ended(call, GRPCStatus(.internal, "etcd sent an invalid answer to a keepalive"))
    }
    guard let answered = settle(lease) else { return }
    keeper.answerCount &+= 1
    lastNews = keeper.loop.now
    backoff.reset()
    trouble = nil
    hasFailedAtOnce = false
    if owed == 0 {
      wake(at: lastNews + keeper.idleLimit)
      // They may have waited for that.
      if !due.isEmpty { hasToSend() }
    }
    let result = Result<[UInt8], GRPCStatus>.success(response)
    for keepAlive in answered { keepAlive.finish(result) }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) { ended(call, status) }
}
