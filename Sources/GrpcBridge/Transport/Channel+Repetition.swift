/// Which calls are sent again, and where that ends.
///
/// What certainly was not executed is sent again a few times, and a repeatable call that a member has answered with
/// *unavailable* as often as clientv3 does: a member that answers is alive. One that has died with the call may have
/// died *of* it, as etcd does of some requests: such a call is sent to one other member, and to no further one if that
/// dies, too. One bad request must not end a cluster that is there to survive the loss of a member.
extension Channel {
  /// A call is sent at most this often.
  private static let maxAttempts = 100
  /// What a member does not begin with is sent again this often.
  private static let maxRefusals = 10
  /// With so many members lost a call is not sent again.
  static let maxLosses = 2

  func mayRepeat(_ call: Call, after status: GRPCStatus, isUnexecuted: Bool) -> Bool {
    guard !isClosed, !status.isOK, !call.hasReceivedMessage, call.attempts < Self.maxAttempts else { return false }
    if isUnexecuted { return call.refusals <= Self.maxRefusals }
    // Looked at before anything is executed; the lack of a leader is where the call's metadata asks for that. Calls of
    // others may come in between, so allow two rounds over the members.
    if status.isRefusalOfLearner || status.isForLeader
      || status.isLackOfLeader && call.requiresLeader && !call.method.isRepeatable
    {
      return hasChoice && call.attempts < 2 * subchannels.count
    }
    return status.code == .unavailable && call.method.isRepeatable && call.losses < Self.maxLosses
  }

  /// Whether a call that waits at a member is given up there for the sake of `status`, as it goes on elsewhere.
  func mayMove(_ call: Call, after status: GRPCStatus) -> Bool {
    if call.method.isResumable && status.code == .unavailable { return true }
    guard call.method.isRepeatable || call.method.isResumable, !call.hasReceivedMessage else { return false }
    // It may be what makes members fall silent: the second one is waited for.
    return !status.isLoss || call.losses + 1 < Self.maxLosses
  }
}

extension Call {
  /// Takes notice that a member may have died of the call.
  func isLost(at endpoint: Endpoint) {
    losses += 1
    if lostAt == nil { lostAt = endpoint }
  }
}

extension GRPCStatus {
  /// What the loss of a member means for a call that is not sent again.
  func explained(for call: Call) -> GRPCStatus {
    var status = self
    if call.losses > 1, let first = call.lostAt {
      status.message +=
        "; before, \(first.authority) was lost with the same call, which may be what ends etcd and is not sent again"
    } else if !call.method.isRepeatable && !call.method.isStream && !call.method.isReadOnly {
      status.message += "; the call may have been executed"
    }
    return status
  }
}
