internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// Tells whether a member is of use: a stream of its own that the member ends as soon as it has no leader, and refuses
/// while it has none or is a learner. A member without a leader would answer calls after seven seconds or more, with an
/// error, and nothing else tells it apart. Besides, the stream is a call under way, so that a silent peer is noticed
/// before it is needed.
///
/// The stream is one of watches, with etcd's metadata `hasleader`: its rights are looked at only if a watch is
/// created, so that it needs no token. The first request asks for a watch, as etcd answers that in any case; then it is
/// idle.
///
/// A member that was lost or of no use first answers a linearizable read. Once a partition has healed a member knows
/// its leader at once, but what it sends there is lost until etcd's own connections are new, some 5 s later. Only a
/// read that the leader has agreed to shows that calls come through, and that the member has caught up. The read needs
/// no token either: etcd agrees on it before it looks at rights.
final class LeaderProbe: CallDelegate {
  private static let method = EtcdRPC.watch.method
  private static let question = Etcdserverpb_WatchRequest.with {
    // No key stands for the first one there can be, a single zero.
    $0.createRequest.watchID = 1
    $0.createRequest.filters = [.noput, .nodelete]
  }.encodedSmall()
  private static let thanks = Etcdserverpb_WatchRequest.with { $0.cancelRequest.watchID = 1 }.encodedSmall()
  private static let read = Etcdserverpb_RangeRequest.with {
    $0.key = .init([0])
    $0.countOnly = true
  }.encodedSmall()
  /// How long, in milliseconds, until a member that was of no use is asked again.
  private static let pause: UInt64 = 500
  /// How long the read may take.
  private static let readTimeout = GRPCTimeout(milliseconds: 2000)

  /// Whether calls had better go elsewhere: the member has said that it is of no use, or its connection was lost, and
  /// it has not shown the contrary since.
  private(set) var isRefused = false
  /// Whether the member has answered on this stream.
  private var isAnswered = false
  private unowned let subchannel: Subchannel
  private let loop: EventLoop
  /// The stream, or the read before it.
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
    guard isRefused else { return openStream(on: connection) }
    let read = Call(
      EtcdRPC.range.method, message: CallMessage(copying: Self.read), timeout: Self.readTimeout, delegate: self)
    read.requiresLeader = true
    submit(read, on: connection)
  }

  private func openStream(on connection: Connection) {
    let stream = Call(Self.method, message: CallMessage(copying: Self.question), timeout: nil, delegate: self)
    submit(stream, on: connection)
  }

  private func submit(_ call: Call, on connection: Connection) {
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

  /// Takes notice that the connection was lost.
  func lost() {
    stop()
    isRefused = true
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
    guard call === self.call, call.method.isStream, !isAnswered else { return }
    // Be it a refusal of rights: it came past all that a member looks at before.
    isAnswered = true
    isRefused = false
    call.requests?.append(CallMessage(copying: Self.thanks))
    call.stream.connection?.hasMoreToSend(call)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard call === self.call else { return }
    self.call = nil
    guard call.method.isStream else { return readEnded(status) }
    // If there is no such stream, in a proxy maybe, nothing is known, and calls go there as to any other.
    guard isAnswered || status.isOfNoUse else {
      isRefused = false
      return
    }
    isRefused = status.isOfNoUse
    again.start(after: Self.pause)
    if isRefused { subchannel.giveUpCalls(status) }
  }

  /// A refusal of rights is an answer as good as any.
  private func readEnded(_ status: GRPCStatus) {
    // Some versions just reset the stream if the time is over.
    let isServed =
      status.isOK || status.origin == .server && status.code != .unavailable && status.code != .deadlineExceeded
    if isServed, let connection = subchannel.connection, connection.state == .ready {
      openStream(on: connection)
    } else {
      again.start(after: Self.pause)
    }
  }
}
