internal import EtcdSchema
import EventLoop
internal import SwiftProtobuf

/// Finds out whether a member is usable, by a stream of its own. The member ends the stream as soon as it has no
/// leader, and refuses it while it has none or is a learner. Without the probe, calls to a member without a leader
/// would fail after seven seconds or more, and nothing else tells such a member apart. As the stream is a call under
/// way, ``ConnectionKeepalive`` also notices a silent member before other calls need it.
///
/// The stream is a Watch stream with etcd's metadata `hasleader`. It needs no token, as etcd checks permissions only
/// when a watch is created. The first request creates a watch, as etcd answers that in any case. After that the stream
/// is idle.
///
/// A member that was lost or unusable first answers a linearizable read. Right after a partition has healed, the member
/// knows its leader, but what it sends there is lost until etcd's own connections are new, some 5 s later. Only a read
/// that the leader has confirmed proves that calls reach it, and that the member has caught up. The read needs no token
/// either: etcd confirms it before it checks permissions.
final class LeaderProbe: CallDelegate {
  private static let method = EtcdRPC.watch.method
  private static let question = Etcdserverpb_WatchRequest.with {
    // Without a key, etcd watches the smallest possible one, a single zero byte.
    $0.createRequest.watchID = 1
    $0.createRequest.filters = [.noput, .nodelete]
  }.encodedSmall()
  private static let thanks = Etcdserverpb_WatchRequest.with { $0.cancelRequest.watchID = 1 }.encodedSmall()
  private static let read = Etcdserverpb_RangeRequest.with {
    $0.key = .init([0])
    $0.countOnly = true
  }.encodedSmall()
  /// The milliseconds after which a member that was unusable is asked again.
  private static let pause: UInt64 = 500
  /// The time limit of the read, in milliseconds.
  private static let readLimit: UInt64 = 2000

  /// Whether calls had better go to other members: the member has reported that it is unusable, or its connection was
  /// lost, and it has not proved the contrary since.
  private(set) var isRefused = false
  /// Whether the member has answered on this stream.
  private var isAnswered = false
  private unowned let subchannel: Subchannel
  private let loop: EventLoop
  /// The stream, or the read before it.
  private var call: Call?
  private lazy var again = LoopTimer(loop: loop) { [unowned self] in
    // The channel does not watch the deadline of the read, as it did not submit it, and etcd may not answer.
    if call?.method.isStream == false { drop() }
    subchannel.watch()
  }

  init(subchannel: Subchannel, loop: EventLoop) {
    self.subchannel = subchannel
    self.loop = loop
  }

  /// Opens the stream, unless it is open. If the member was lost or unusable, the read comes first.
  func start(on connection: Connection) {
    guard call == nil else { return }
    isAnswered = false
    guard isRefused else { return openStream(on: connection) }
    let read = Call(
      EtcdRPC.range.method, message: CallMessage(copying: Self.read),
      timeout: GRPCTimeout(milliseconds: Self.readLimit), delegate: self)
    read.requiresLeader = true
    submit(read, on: connection)
    again.start(after: Self.readLimit + Self.pause)
  }

  private func openStream(on connection: Connection) {
    again.stop()
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

  /// The member has reported on another stream that it is unusable.
  func refused() {
    guard !isRefused else { return }
    drop()
    isRefused = true
    again.start(after: Self.pause)
  }

  /// The connection was lost.
  func lost() {
    stop()
    isRefused = true
  }

  /// Ends the stream and forgets what is known of the member.
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
    // Any response will do, even a denial: it came after all that a member checks before.
    isAnswered = true
    isRefused = false
    call.requests?.append(CallMessage(copying: Self.thanks))
    call.stream.connection?.hasMoreToSend(call)
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    guard call === self.call else { return }
    self.call = nil
    guard call.method.isStream else { return readEnded(status) }
    // If the peer, such as a proxy, has no such stream, nothing is known of the member: it gets calls like any other.
    guard isAnswered || status.isOfNoUse else {
      isRefused = false
      return
    }
    isRefused = status.isOfNoUse
    again.start(after: Self.pause)
    if isRefused { subchannel.giveUpCalls(status) }
  }

  /// The read has ended. A denial proves as much as an answer.
  private func readEnded(_ status: GRPCStatus) {
    // Some versions of etcd only reset the stream at the deadline.
    let isServed =
      status.isOK || status.origin == .server && status.code != .unavailable && status.code != .deadlineExceeded
    if isServed, let connection = subchannel.connection, connection.state == .ready {
      openStream(on: connection)
    } else {
      again.start(after: Self.pause)
    }
  }
}
