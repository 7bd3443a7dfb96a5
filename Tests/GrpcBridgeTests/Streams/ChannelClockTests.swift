import EventLoop
import Logging
import TestSupport
import Testing

@testable import GrpcBridge

/// The clock of a channel runs only for calls that need it.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct ChannelClockTests {
  /// A channel on a loop that the test turns itself.
  private struct Rig {
    let peer: ScriptedPeer
    let loop: EventLoop
    let channel: Channel

    init(script: @escaping ScriptedPeer.Script) throws {
      peer = try ScriptedPeer(script: script)
      loop = try EventLoop()
      channel = Channel(
        loop: loop, endpoints: [try Endpoint(peer.endpoint)], configuration: .init(),
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      loop.beforeWaiting { [unowned channel] in channel.flush() }
    }

    /// Turns the loop until `condition` holds, looked at every few milliseconds.
    func run(until condition: @escaping () -> Bool) {
      let timer = LoopTimer(loop: loop) { [loop] in
        if condition() { loop.stop() }
      }
      timer.start(after: 0, every: 2)
      loop.run()
    }
  }

  private final class Silent: CallDelegate {
    var status: GRPCStatus?

    func call(_ call: Call, willReceive length: Int) {}
    func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}
    func call(_ call: Call, endedWith status: GRPCStatus) { self.status = status }
  }

  @Test func itStopsForAStreamOnTheWire() throws {
    let rig = try Rig { _ in .hang }
    let delegate = Silent()
    let stream = Call(.stream, message: CallMessage(copying: [1]), timeout: nil, delegate: delegate)
    rig.channel.send(stream)
    // It waits for a connection, but not for ever.
    #expect(rig.channel.isTicking)
    let channel = rig.channel
    rig.run { stream.phase == .sent && !channel.isTicking }

    let limited = Call(
      .stream, message: CallMessage(copying: [1]), timeout: GRPCTimeout(milliseconds: 40), delegate: delegate)
    rig.channel.send(limited)
    #expect(rig.channel.isTicking)
    rig.run { delegate.status != nil && !channel.isTicking }
    #expect(delegate.status?.code == .deadlineExceeded)
    #expect(stream.phase == .sent)
    rig.channel.close()
    #expect(stream.phase == .idle)
  }

  /// A server may be the first to notice that a call's time is over: newer versions of grpc-go only reset the stream.
  @Test(arguments: [(15, .deadlineExceeded), (3_600_000, .canceled)] as [(UInt64, GRPCCode)])
  func aResetAtTheDeadlineIsTheDeadline(milliseconds: UInt64, code: GRPCCode) throws {
    let rig = try Rig { _ in [.reset(code: HTTP2Error.cancel)] }
    let delegate = Silent()
    rig.channel.send(
      Call(
        .stream, message: CallMessage(copying: [1]), timeout: GRPCTimeout(milliseconds: milliseconds),
        delegate: delegate))
    rig.run { delegate.status != nil }
    #expect(delegate.status?.code == code)
    rig.channel.close()
  }

  @Test func itRunsWhileAStreamWaitsToBeRepeated() throws {
    let rig = try Rig { $0.attempt < 3 ? .refused : .messages([]) }
    let delegate = Silent()
    let stream = Call(.stream, message: CallMessage(copying: [1]), timeout: nil, delegate: delegate)
    rig.channel.send(stream)
    let channel = rig.channel
    rig.run { delegate.status != nil && !channel.isTicking }
    #expect(delegate.status?.code == .ok)
    #expect(stream.retry.attempts == 3)
    rig.channel.close()
  }
}
