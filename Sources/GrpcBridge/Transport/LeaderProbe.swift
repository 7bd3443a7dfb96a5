internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// Tells whether a member is of use: a stream of its own that the member ends as soon as it has no leader, and refuses
/// while it has none or is a learner. Calls that go to a member without a leader would be answered after seven seconds
/// or more, with an error, and nothing else tells them apart; and with a call under way a peer that has fallen silent
/// is noticed before it is needed.
///
/// The stream is one of watches, with etcd's metadata `hasleader`: its rights are looked at only if a watch is
/// created, so that it needs no token. The first request asks for a watch, as etcd answers that in any case; then it is
/// idle.
final class LeaderProbe: CallDelegate {
  private static let method = EtcdRPC.watch.method
  private static let question = Etcdserverpb_WatchRequest.with {
    // No key stands for the first one there can be, a single zero.
    $0.createRequest.watchID = 1
    $0.createRequest.filters = [.noput, .nodelete]
  }.encodedSmall()
  private static let thanks = Etcdserverpb_WatchRequest.with { $0.cancelRequest.watchID = 1 }.encodedSmall()
  /// How long, in milliseconds, until a member that was of no use is asked again.
  private static let pause: UInt64 = 500

  /// Whether the member has said that it is of no use.
  private(set) var isRefused = false
  /// Whether the member has answered on this stream.
  private var isAnswered = false
  private unowned let subchannel: Subchannel
  private let loop: EventLoop
  private var call: Call?
  private lazy var again = LoopTimer(loop: loop) { [unowned self] in subchannel.watch() }

  init(subchannel: Subchannel, loop: EventLoop) {
    self.subchannel = subchannel
    self.loop = loop
  }

  /// Opens the stream, unless it is open.
  func start(on connection: Connection) {
    guard call == nil else { return }
    isAnswered = false
    let call = Call(Self.method, message: CallMessage(copying: Self.question), timeout: nil, delegate: self)
    call.maxBytes = 1 << 20
    do {
      try connection.submit(call)
      self.call = call
    } catch {
      // The connection takes no more streams, and ends soon.
    }
  }

  /// Takes notice that the member has said on another stream that it is of no use.
  func refused() {
    guard !isRefused else { return }
    drop()
    isRefused = true
    again.start(after: Self.pause)
  }

  /// Ends the stream; what was said of the member is forgotten.
  func stop() {
    again.stop()
    isRefused = false
    drop()
  }

  private func drop() {
    if let call { call.stream.connection?.reset(call) }
    call = nil
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func callReceivedMessage(_ call: Call) {
    guard call === self.call, !isAnswered else { return }
    // Be it a refusal of rights: it came past all that a member looks at before.
    isAnswered = true
    isRefused = false
    call.requests?.append(CallMessage(copying: Self.thanks))
    call.stream.connection?.hasMoreToSend(call)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard call === self.call else { return }
    self.call = nil
    // If there is no such stream, in a proxy maybe, nothing is known, and calls go there as to any other.
    guard isAnswered || status.isOfNoUse else { return }
    isRefused = status.isOfNoUse
    again.start(after: Self.pause)
    if isRefused { subchannel.giveUpCalls(status) }
  }
}
