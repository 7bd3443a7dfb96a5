import EventLoop

/// Takes the place of the makers of calls that run to their end though no caller waits for their answers any more. From
/// where too many were left none is begun; that affects no other client.
final class AbandonedCalls: CallDelegate {
  private unowned let channel: Channel
  /// How many calls from one address may run to their end without their makers.
  private static let most = 100
  private var counts: [Peer: Int] = [:]

  init(channel: Channel) { self.channel = channel }

  /// Whether another call may begin that may have to be run to its end.
  func mayBegin(_ call: Call) -> Bool { counts[call.caller.peer, default: 0] < Self.most }

  func take(_ call: Call) {
    call.delegate = self
    call.stream.connection?.resume(call)
    counts[call.caller.peer, default: 0] += 1
  }

  func call(_ call: Call, willReceive length: Int) {
    // It is executed by now, so that it does no harm to stop it.
    forget(call)
    channel.reset(call)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}
  func call(_ call: Call, endedWith status: GRPCStatus) { forget(call) }

  private func forget(_ call: Call) {
    guard let count = counts[call.caller.peer] else { return }
    counts[call.caller.peer] = count > 1 ? count - 1 : nil
  }
}
