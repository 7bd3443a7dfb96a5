internal import EventLoop
internal import GrpcBridge

/// A call of a client that etcd answers with a stream.
final class ServerStream: ClientOperation {
  /// Takes a message of the stream; returns whether there is room for more.
  typealias OnMessage = ([UInt8]) throws -> Bool
  /// Takes the end: the error, if there was one.
  typealias OnEnd = ((any Error)?) -> Void

  private unowned let core: ClientLoop
  private let cancellationToken: CancellationToken
  private let method: CallMethod
  private let message: [UInt8]
  private let timeout: GRPCTimeout?
  private let target: Endpoint?
  private let bridge: Bridge
  private let onMessage: OnMessage
  private let onEnd: OnEnd
  /// Whether a stream that breaks is replaced by another one.
  private let resumes: Bool
  private var call: Call?
  /// A call that etcd has ended without an error, as it does when the token has expired.
  private var ended: Call?
  /// Counts the calls that etcd has ended without a message and without an error.
  private var vainCalls = VainCalls()
  private var incoming: [UInt8] = []
  private var isHeldBack = false
  private var backoff = Backoff.stream
  private lazy var reopening = LoopTimer(loop: core.loop) { [unowned self] in open() }

  init(
    _ method: CallMethod, _ message: [UInt8], timeout: GRPCTimeout? = nil, target: Endpoint? = nil,
    resumes: Bool = false,
    core: ClientLoop, cancellationToken: CancellationToken, onMessage: @escaping OnMessage, onEnd: @escaping OnEnd
  ) {
    self.core = core
    self.cancellationToken = cancellationToken
    self.method = method
    self.message = message
    self.timeout = timeout
    self.target = target
    self.resumes = resumes
    self.onMessage = onMessage
    self.onEnd = onEnd
    bridge = core.takeBridge(to: target)
  }

  func start() { open() }

  private func open() {
    let call = Call(method, message: CallMessage(copying: message), timeout: timeout, delegate: self)
    call.requiresLeader = resumes || core.configuration.requireLeader
    self.call = call
    vainCalls.begin(at: core.loop.now)
    bridge.start(call, for: core.caller, insteadOf: ended.take())
    bridge.finishSending(call)
  }

  func resume() {
    guard isHeldBack, let call else { return }
    isHeldBack = false
    bridge.resume(call)
  }

  func cancel() { end(CancellationError()) }

  func close(_ error: EtcdError) { end(error) }

  private func end(_ error: (any Error)?) {
    if let call { bridge.cancel(call) }
    call = nil
    reopening.stop()
    core.giveBackBridge(to: target)
    core.ended(cancellationToken)
    onEnd(error)
  }
}

extension ServerStream: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    incoming = []
    incoming.reserveCapacity(min(length, 1 << 20))
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { incoming += bytes }

  func callReceivedMessage(_ call: Call) {
    do {
      backoff.reset()
      vainCalls.wasOfUse()
      let hasRoom = try onMessage(incoming)
      if !hasRoom && !isHeldBack {
        isHeldBack = true
        bridge.pause(call)
      }
    } catch {
      end((error as? GRPCStatus).map { core.error($0, at: call.endpoint) } ?? error)
    }
  }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    // A call that was never on the wire has found no connection within the time limit for one.
    guard resumes, !core.isClosed, status.isPassing || status.isOK, call.endpoint != nil else {
      return end(status.isOK ? nil : core.error(status, at: call.endpoint))
    }
    isHeldBack = false
    if status.isOK {
      ended = call
      guard vainCalls.mayFollow(at: core.loop.now) else {
        return end(core.error(GRPCStatus(.unavailable, "etcd keeps ending the stream at once"), at: call.endpoint))
      }
    }
    reopening.start(after: backoff.wait())
  }
}
