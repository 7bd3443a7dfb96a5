internal import GrpcBridge
internal import Synchronization

/// One unary call of a client, from its start to its answer.
final class UnaryCall: ClientOperation {
  private unowned let core: ClientLoop
  private let cancellationToken: CancellationToken
  private let bridge: Bridge
  private let target: Endpoint?
  private let caller: Caller
  private var call: Call!
  private var response: [UInt8] = []
  private let continuation: CheckedContinuation<[UInt8], any Error>

  /// - Parameter target: the member that the call is for; nil for any.
  init(
    _ method: CallMethod, _ message: [UInt8], timeout: GRPCTimeout?, credentials: Bool, target: Endpoint?,
    core: ClientLoop, cancellationToken: CancellationToken, continuation: CheckedContinuation<[UInt8], any Error>
  ) {
    self.core = core
    self.cancellationToken = cancellationToken
    self.target = target
    self.continuation = continuation
    caller = credentials ? core.caller : Caller(.none, peer: .itself)
    bridge = core.takeBridge(to: target)
    call = Call(method, message: CallMessage(copying: message), timeout: timeout, delegate: self)
    call.requiresLeader = core.configuration.requireLeader
  }

  func start() { bridge.start(call, for: caller) }

  func cancel() {
    bridge.cancel(call)
    finish(.failure(CancellationError()))
  }

  func close(_ error: EtcdError) { finish(.failure(error)) }

  private func finish(_ result: Result<[UInt8], any Error>) {
    core.giveBackBridge(to: target)
    core.ended(cancellationToken)
    continuation.resume(with: result)
  }
}

extension UnaryCall: CallDelegate {
  func call(_ call: Call, willReceive length: Int) {
    let most = core.configuration.maxReceiveBytes
    guard length <= most else {
      bridge.cancel(call)
      let text = "the answer has \(length) bytes, more than the maximum of \(most) (maxReceiveBytes)"
      return finish(.failure(core.error(GRPCStatus(.resourceExhausted, text), at: call.endpoint)))
    }
    response.reserveCapacity(length)
  }

  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) { response += bytes }

  func call(_ call: Call, endedWith status: GRPCStatus) {
    finish(status.isOK ? .success(response) : .failure(core.error(status, at: call.endpoint)))
  }
}
