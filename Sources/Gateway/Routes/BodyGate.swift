import GrpcBridge
import HTTPServer
import Transcoding

/// Asks etcd whether it knows a client, before a body is read that has to be kept: strangers are answered at once, and
/// their bodies are never in memory.
///
/// A user without any permission is known, too.
final class BodyGate: RequestGate, CallDelegate {
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private let caller: Caller
  private var call: Call?

  /// - Returns: nil if no check is needed.
  init?(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    let caller = try Caller(exchange, shard: shard)
    guard !shard.bridge.trusts(caller.credentials) else { return nil }
    self.exchange = exchange
    self.shard = shard
    self.caller = caller
  }

  /// Begins the check. It ends with ``Exchange/leaveGate()``, or with an answer.
  func ask() {
    let call = AccessQuestion.call(timeout: shard.settings.timeLimits.standard, delegate: self)
    self.call = call
    shard.bridge.start(call, for: caller)
  }

  func cancel() {
    if let call { shard.bridge.cancel(call) }
    call = nil
  }

  // MARK: - From etcd

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    guard AccessQuestion.isOfKnownCaller(status) else {
      // Errors of etcd's own API have etcd's own words.
      let isOfEtcd = exchange.head.path.starts(with: "/v3".utf8)
      let status = isOfEtcd ? status : status.plain(hadCredentials: caller.isSomebody)
      return exchange.respond(.error(status, hadCredentials: caller.isSomebody))
    }
    shard.bridge.trust(caller.credentials)
    exchange.leaveGate()
  }
}
