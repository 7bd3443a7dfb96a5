import EventLoop

/// Keeps the leases of any number of clients alive over one LeaseKeepAlive stream for each user: etcd answers each
/// request with one response, in order, so that clients need no streams of their own. Belongs to one loop.
///
/// What etcd leaves unanswered when a stream breaks is sent again on another one: renewing a lease twice does no harm.
package final class LeaseKeeper {
  /// How long, in milliseconds, etcd may owe answers and send none before its stream is given up. More than etcd needs
  /// to give up by itself if it finds no leader (7 s by default).
  static let maxSilence: UInt64 = 15_000
  /// How precisely deadlines are kept, in milliseconds.
  private static let tick: UInt64 = 25

  let loop: EventLoop
  unowned let bridge: Bridge
  /// How long, in milliseconds, a stream without requests is kept.
  let idleLimit: UInt64
  /// Whether streams without a user must not reach etcd if authentication is on.
  let needsUsers: Bool
  private var streams: [CallCredentials: LeaseStream] = [:]
  /// Streams that take no more requests and have yet to end.
  private var finishing: [ObjectIdentifier: LeaseStream] = [:]
  /// Streams that have something to send.
  private var pending: [LeaseStream] = []
  private var isClosed = false
  /// How many keepalives etcd has answered.
  var answerCount: UInt64 = 0
  /// How many streams carry them.
  var streamCount: Int { streams.count + finishing.count }
  /// When the timer fires.
  private var wakeTime = UInt64.max
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in look() }

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
    let keepAlive = KeepAliveRequest(timeout: timeout, deadline: overflows ? .max : sum, answer: answer)
    guard !isClosed else {
      keepAlive.finish(.failure(Channel.closed))
      return keepAlive
    }
    let stream: LeaseStream
    if let known = streams[caller.credentials] {
      stream = known
    } else {
      stream = LeaseStream(keeper: self, caller: caller)
      streams[caller.credentials] = stream
    }
    stream.add(keepAlive, lease: lease)
    wake(at: keepAlive.deadline)
    return keepAlive
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
    timer.stop()
    let all = Array(streams.values) + finishing.values
    streams = [:]
    finishing = [:]
    pending = []
    for stream in all { stream.close(Channel.closed) }
  }

  // MARK: - For the streams

  /// Has the stream send its requests at the end of this turn.
  func hasToSend(_ stream: LeaseStream) { pending.append(stream) }

  /// Keeps a stream that takes no more requests until it has ended.
  func finishes(_ stream: LeaseStream) {
    streams[stream.caller.credentials] = nil
    finishing[ObjectIdentifier(stream)] = stream
  }

  func ended(_ stream: LeaseStream) {
    if streams[stream.caller.credentials] === stream { streams[stream.caller.credentials] = nil }
    finishing[ObjectIdentifier(stream)] = nil
  }

  /// Has all streams checked at `time` at the latest.
  func wake(at time: UInt64) {
    guard time < wakeTime, !isClosed else { return }
    wakeTime = time
    timer.start(after: time > loop.now ? time - loop.now : 0)
  }

  private func look() {
    wakeTime = .max
    let now = loop.now
    var next = UInt64.max
    for stream in Array(streams.values) + finishing.values { next = min(next, stream.look(at: now)) }
    // Deadlines that are close together are handled by one event.
    if next < .max { wake(at: max(next, now + Self.tick)) }
  }
}
