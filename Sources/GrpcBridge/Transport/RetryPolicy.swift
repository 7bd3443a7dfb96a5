/// Decides whether and when a call is sent again after its stream at a member has ended: a state machine without I/O,
/// one for each call.
///
/// A call that certainly was not executed is sent again a few times. A repeatable call that a member has answered with
/// *unavailable* is sent again as often as by clientv3: a member that answers is alive. But a member that has died with
/// the call may have died *of* it, as some requests kill etcd. Such a call is sent to one other member, and to no third
/// one if that dies, too: one bad request must not end a cluster that is there to survive the loss of a member.
struct RetryPolicy {
  /// What happens to a call next.
  enum Decision: Equatable {
    /// The call has ended.
    case over
    /// The call is sent again at once.
    case again
    /// The call is sent again after a pause.
    case againAfterPause
  }

  /// How a stream of a call has ended.
  struct Ending {
    let status: GRPCStatus
    /// Whether the member certainly has not executed the call.
    let isUnexecuted: Bool
    /// Whether a message of the answer had begun.
    let hasAnswered: Bool
    /// The member.
    let endpoint: Endpoint
  }

  /// How often a call is sent at most.
  static let maxAttempts = 100
  /// How often a call that was not executed is sent again at most.
  static let maxRefusals = 10
  /// A call that has lost this many members is not sent again.
  static let maxLosses = 2

  /// How often the call was sent.
  private(set) var attempts = 0
  /// How often a stream of the call has ended before the call was executed: a member refused it, or was lost first.
  private(set) var refusals = 0
  /// How often the connection was lost, or fell silent, while a member had the call.
  private(set) var losses = 0
  /// The first member that was lost so.
  private(set) var lostAt: Endpoint?

  /// The call is being sent.
  mutating func isSent() { attempts += 1 }

  /// A stream of the call has ended.
  ///
  /// - Parameters:
  ///   - isRepeatable: whether the call may be sent again though etcd may have executed it.
  ///   - requiresLeader: whether the call's metadata asks for a leader.
  ///   - members: how many members there are.
  mutating func ended(
    _ ending: Ending, isRepeatable: Bool, requiresLeader: Bool, members: Int
  ) -> Decision {
    let status = ending.status
    if ending.isUnexecuted {
      refusals += 1
    } else if status.isLoss {
      losses += 1
      if lostAt == nil { lostAt = ending.endpoint }
    }
    guard !status.isOK, !ending.hasAnswered, attempts < Self.maxAttempts else { return .over }
    let mayRepeat: Bool
    if ending.isUnexecuted {
      mayRepeat = refusals <= Self.maxRefusals
    } else if status.isRefusalOfLearner || status.isForLeader
      || status.isLackOfLeader && requiresLeader && !isRepeatable
    {
      // etcd checks these before it executes anything, the lack of a leader only if the call's metadata asks for one.
      // As other calls may take turns in between, the limit is two rounds of all members.
      mayRepeat = members > 1 && attempts < 2 * members
    } else {
      mayRepeat = status.code == .unavailable && isRepeatable && losses < Self.maxLosses
    }
    guard mayRepeat else { return .over }
    // One pause after each round of a quorum, as in clientv3.
    let isFirst = ending.isUnexecuted && attempts == 1
    return isFirst || attempts % (members / 2 + 1) != 0 ? .again : .againAfterPause
  }

  /// Whether a call that waits at a member is given up there because of `status`, as it can continue elsewhere.
  ///
  /// - Parameter isResumable: whether the owner of a stream continues by itself, with another call, after the stream
  ///   has ended.
  func mayMove(after status: GRPCStatus, isRepeatable: Bool, isResumable: Bool, hasAnswered: Bool) -> Bool {
    if isResumable && status.code == .unavailable { return true }
    guard isRepeatable || isResumable, !hasAnswered else { return false }
    // The call may be what makes members fall silent: it is not taken from the second one.
    return !status.isLoss || losses + 1 < Self.maxLosses
  }
}

extension GRPCStatus {
  /// The status of a call that is not sent again after the loss of its member: says what that means for the call.
  func explained(for call: Call) -> GRPCStatus {
    var status = self
    if call.retry.losses > 1, let first = call.retry.lostAt {
      status.message +=
        "; \(first.authority) was lost during the same call before: the call may crash etcd and is not sent again"
    } else if !call.method.isRepeatable && !call.method.isStream && !call.method.isReadOnly {
      status.message += "; the call may have been executed"
    }
    return status
  }
}
