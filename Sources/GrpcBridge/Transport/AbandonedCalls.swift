import EventLoop

/// The delegate of calls whose makers have lost interest, but which must run to their end (``CallMethod/runsToEnd``).
/// If an address has too many of them, the channel refuses further such calls from there; other addresses are not
/// affected.
final class AbandonedCalls: CallDelegate {
  private unowned let channel: Channel
  /// How many calls of one address may run to their end without their makers.
  private static let most = 100
  private var counts: [Peer: Int] = [:]

  init(channel: Channel) { self.channel = channel }

  /// Whether `call` may begin, though it may have to run to its end without its maker.
  func mayBegin(_ call: Call) -> Bool { counts[call.caller.peer, default: 0] < Self.most }

  func take(_ call: Call) {
    call.delegate = self
    call.stream.connection?.resume(call)
    counts[call.caller.peer, default: 0] += 1
  }

  func call(_ call: Call, willReceive length: Int) {
    // etcd has executed the call by now: a reset does no harm.
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
