internal import DequeModule
import EventLoop

/// Keeps the leases of any number of clients alive over one LeaseKeepAlive stream for each user: etcd answers each
/// request with one response, in order, so that clients need no streams of their own. Belongs to one loop.
///
/// What etcd leaves unanswered when a stream breaks is sent again on another one: renewing a lease twice does no harm.
package final class LeaseKeeper {
  /// How long, in milliseconds, etcd may owe answers and send none before its stream is given up. More than etcd needs
  /// to give up by itself if it finds no leader (7 s by default).
  static let maxSilence: UInt64 = 15_000
  /// How many streams may be open that no client waits for, and how many more that etcd has yet to end. Where etcd
  /// checks no token, each token that a stranger invents opens a stream, which takes memory here and at etcd. A user
  /// whose stream had to go gets another one with the next keepalive.
  static let maxUnused = 64

  let loop: EventLoop
  unowned let bridge: Bridge
  /// How long, in milliseconds, a stream without requests is kept.
  let idleLimit: UInt64
  /// Whether streams of callers that etcd does not know must not reach it if authentication is on.
  let needsUsers: Bool
  private var streams: [CallCredentials: LeaseStream] = [:]
  /// Those of them that no client waits for, the longest unused one first.
  private var unused: [LeaseStream] = []
  /// gRPC streams that get no more requests, until etcd has ended them; each with the time when it is given up.
  private var finishing: Deque<(call: Call, end: UInt64)> = []
  /// Streams that have something to send.
  private var pending: [LeaseStream] = []
  private var isClosed = false
  /// How many keepalives etcd has answered.
  var answerCount: UInt64 = 0
  /// How many streams carry them.
  var streamCount: Int { streams.count + finishing.count }
  private lazy var finishTimer = LoopTimer(loop: loop) { [unowned self] in giveUpFinishing() }

  init(loop: EventLoop, bridge: Bridge, idleLimit: UInt64, needsUsers: Bool = false) {
    self.loop = loop
    self.bridge = bridge
    self.idleLimit = idleLimit
    self.needsUsers = needsUsers
  }

  /// Asks etcd to keep a lease alive.
  ///
  /// - Parameters:
  ///   - lease: the ID of the lease.
  ///   - caller: the client, kept while the user's stream is open.
  ///   - timeout: after how many milliseconds the answer is an error.
  ///   - answer: called once, later, unless the request is cancelled; called at once if the bridge was closed.
  package func keepAlive(
    _ lease: Int64, for caller: Caller, timeout: UInt64, answer: @escaping KeepAliveRequest.Answer
  ) -> KeepAliveRequest {
    let (sum, overflows) = loop.now.addingReportingOverflow(timeout)
    let stream: LeaseStream? = isClosed ? nil : stream(for: caller)
    let keepAlive = KeepAliveRequest(
      timeout: timeout, deadline: overflows ? .max : sum, stream: stream, answer: answer)
    if let stream { stream.add(keepAlive, lease: lease) } else { keepAlive.finish(.failure(Channel.closed)) }
    return keepAlive
  }

  private func stream(for caller: Caller) -> LeaseStream {
    if let known = streams[caller.credentials] { return known }
    let stream = LeaseStream(keeper: self, caller: caller)
    streams[caller.credentials] = stream
    return stream
  }

  /// Whether ``flush()`` has anything to do.
  var needsFlush: Bool { !pending.isEmpty }

  /// Sends the requests of this turn of the loop.
  func flush() {
    guard needsFlush else { return }
    let batch = pending
    pending.removeAll(keepingCapacity: true)
    for stream in batch { stream.send() }
  }

  /// Ends everything with an error.
  func close() {
    isClosed = true
    finishTimer.stop()
    let (open, ending) = (Array(streams.values), finishing)
    streams = [:]
    unused = []
    finishing = []
    pending = []
    for (call, _) in ending { bridge.cancel(call) }
    for stream in open { stream.close(Channel.closed) }
  }

  // MARK: - For the streams

  /// Has the stream send its requests at the end of this turn.
  func hasToSend(_ stream: LeaseStream) { pending.append(stream) }

  /// A client waits for the stream again.
  func isUsed(_ stream: LeaseStream) {
    if let index = unused.lastIndex(where: { $0 === stream }) { unused.remove(at: index) }
  }

  /// No client waits for the stream any more.
  func isUnused(_ stream: LeaseStream) {
    guard streams[stream.caller.credentials] === stream else { return }
    unused.append(stream)
    if unused.count > Self.maxUnused { unused[0].end() }
  }

  func ended(_ stream: LeaseStream) {
    if streams[stream.caller.credentials] === stream { streams[stream.caller.credentials] = nil }
    unused.removeAll { $0 === stream }
  }

  /// Takes over a gRPC stream on which etcd owes no answer: ends its requests, and waits until etcd has ended it.
  func finish(_ call: Call) {
    call.delegate = self
    finishing.append((call, loop.now + Self.maxSilence))
    // etcd takes the end of the requests for a proper end, but a reset for a fault.
    bridge.finishSending(call)
    if finishing.count > Self.maxUnused, let oldest = finishing.popFirst() { bridge.cancel(oldest.call) }
    if !finishTimer.isActive { finishTimer.start(after: Self.maxSilence) }
  }

  /// Resets the gRPC streams that etcd has not ended in time.
  private func giveUpFinishing() {
    while let first = finishing.first {
      guard loop.now >= first.end else { return finishTimer.start(after: first.end - loop.now) }
      finishing.removeFirst()
      bridge.cancel(first.call)
    }
  }
}

/// Of gRPC streams that get no more requests.
extension LeaseKeeper: CallDelegate {
  package func call(_ call: Call, willReceive length: Int) {}
  package func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}
  package func call(_ call: Call, endedWith status: GRPCStatus) { finishing.removeAll { $0.call === call } }
}
