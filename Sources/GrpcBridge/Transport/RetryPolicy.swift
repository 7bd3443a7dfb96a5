/// Whether a call is sent again after its stream at a member has ended, and when: a state machine without I/O, one for
/// each call.
///
/// What certainly was not executed is sent again a few times, and a repeatable call that a member has answered with
/// *unavailable* as often as clientv3 does: a member that answers is alive. One that has died with the call may have
/// died *of* it, as etcd does of some requests: such a call is sent to one other member, and to no further one if that
/// dies, too. One bad request must not end a cluster that is there to survive the loss of a member.
struct RetryPolicy {
  /// What becomes of a call.
  enum Decision: Equatable {
    /// It has ended.
    case over
    /// It is sent again at once.
    case again
    /// It is sent again after a pause.
    case againAfterPause
  }

  /// How a stream of a call has ended.
  struct Ending {
    let status: GRPCStatus
    /// Whether the member certainly has not begun with the call.
    let isUnexecuted: Bool
    /// Whether a message of the answer had come.
    let hasAnswered: Bool
    /// The member.
    let endpoint: Endpoint
  }

  /// A call is sent at most this often.
  static let maxAttempts = 100
  /// What a member does not begin with is sent again this often.
  static let maxRefusals = 10
  /// With so many members lost a call is not sent again.
  static let maxLosses = 2

  /// How often the call was sent.
  private(set) var attempts = 0
  /// How often a member has not begun with it: it has refused it, or had no time to.
  private(set) var refusals = 0
  /// How often the connection has died, or fallen silent, with the call at a member.
  private(set) var losses = 0
  /// The member where that was the first time.
  private(set) var lostAt: Endpoint?

  /// The call is being sent.
  mutating func isSent() { attempts += 1 }

  /// Takes notice of how a stream of the call has ended.
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
      // Looked at before anything is executed; the lack of a leader is where the call's metadata asks for that. Calls
      // of others may come in between, so allow two rounds over the members.
      mayRepeat = members > 1 && attempts < 2 * members
    } else {
      mayRepeat = status.code == .unavailable && isRepeatable && losses < Self.maxLosses
    }
    guard mayRepeat else { return .over }
    // One pause for each round of a quorum, as clientv3's.
    let isFirst = ending.isUnexecuted && attempts == 1
    return isFirst || attempts % (members / 2 + 1) != 0 ? .again : .againAfterPause
  }

  /// Whether a call that waits at a member is given up there for the sake of `status`, as it goes on elsewhere.
  ///
  /// - Parameter isResumable: whether the owner of a stream goes on by itself, with another call, when one has ended.
  func mayMove(after status: GRPCStatus, isRepeatable: Bool, isResumable: Bool, hasAnswered: Bool) -> Bool {
    if isResumable && status.code == .unavailable { return true }
    guard isRepeatable || isResumable, !hasAnswered else { return false }
    // It may be what makes members fall silent: the second one is waited for.
    return !status.isLoss || losses + 1 < Self.maxLosses
  }
}

extension GRPCStatus {
  /// What the loss of a member means for a call that is not sent again.
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
