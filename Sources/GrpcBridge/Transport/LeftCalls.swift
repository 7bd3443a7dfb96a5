/// Takes the place of the makers of calls that run to their end though nobody waits for their answers any more.
final class LeftCalls: CallDelegate {
  private unowned let channel: Channel
  private(set) var count = 0

  init(channel: Channel) { self.channel = channel }

  func take(_ call: Call) {
    call.delegate = self
    call.stream.connection?.resume(call)
    count += 1
  }

  func call(_ call: Call, willReceive length: Int) {
    // It is executed by now, so that it does no harm to stop it.
    count -= 1
    channel.reset(call)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}
  func call(_ call: Call, endedWith status: GrpcStatus) { count -= 1 }
}
