import GrpcBridge
import Transcoding

/// Finds out whether etcd knows a client before a body is taken from it that has to be kept: strangers are answered at
/// once, and their bodies are never in memory.
///
/// Asks etcd what any user may ask, at no cost: for a key at a revision that will never be. It looks at the credentials
/// first. Whoever has them hears that the revision is of the future, or that the user may not read.
final class BodyGate: CallDelegate {
  private static let method = CallMethod(path: "/etcdserverpb.KV/Range", isRepeatable: true)

  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private let caller: Caller
  private var call: Call?

  /// - Returns: nil where nothing needs to be found out.
  init?(_ exchange: Exchange, shard: Shard) throws(Refusal) {
    let caller = try Caller(exchange, shard: shard)
    guard !shard.bridge.trusts(caller.credentials) else { return nil }
    self.exchange = exchange
    self.shard = shard
    self.caller = caller
  }

  /// Asks. The exchange hears of it by ``Exchange/takeBody()``, or gets an answer.
  func ask() {
    // RangeRequest (`etcdserverpb/rpc.proto`).
    var message = keyCallMessage()
    message.append(field: 1, [0])
    message.append(field: 3, 1)
    message.append(field: 4, Int64.max)
    message.append(field: 7, true)
    let call = Call(
      Self.method, message: CallMessage(takingOwnershipOf: message.release()),
      timeout: shard.settings.timeLimits.standard, delegate: self)
    self.call = call
    shard.bridge.start(call, for: caller)
  }

  func cancel() {
    if let call { shard.bridge.cancel(call) }
    call = nil
  }

  // MARK: - What etcd says

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GrpcStatus) {
    self.call = nil
    switch (status.code, status.origin) {
    case (.ok, _), (.outOfRange, .server), (.permissionDenied, .server):
      shard.bridge.trust(caller.credentials)
      exchange.takeBody()
    default:
      exchange.respond(.error(status, hadCredentials: caller.isSomebody))
    }
  }
}
