import GrpcBridge
import HTTPServer
import Transcoding

/// Finds out whether etcd knows a client before a body is taken from it that has to be kept: strangers are answered at
/// once, and their bodies are never in memory.
///
/// A user who may read nothing is known, too.
final class BodyGate: RequestGate, CallDelegate {
  private unowned let exchange: Exchange
  private unowned let shard: Shard
  private let caller: Caller
  private var call: Call?

  /// - Returns: nil if nothing needs to be found out.
  init?(_ exchange: Exchange, shard: Shard) throws(RequestError) {
    let caller = try Caller(exchange, shard: shard)
    guard !shard.bridge.trusts(caller.credentials) else { return nil }
    self.exchange = exchange
    self.shard = shard
    self.caller = caller
  }

  /// Asks. The exchange hears of it by ``Exchange/leaveGate()``, or gets an answer.
  func ask() {
    let call = AccessQuestion.call(timeout: shard.settings.timeLimits.standard, delegate: self)
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

  func call(_ call: Call, endedWith status: GRPCStatus) {
    self.call = nil
    guard AccessQuestion.isYes(status) || status.code == .permissionDenied && status.origin == .server else {
      // etcd's own API has etcd's own words.
      let isOfEtcd = exchange.head.path.starts(with: "/v3".utf8)
      let status = isOfEtcd ? status : status.plain(hadCredentials: caller.isSomebody)
      return exchange.respond(.error(status, hadCredentials: caller.isSomebody))
    }
    shard.bridge.trust(caller.credentials)
    exchange.leaveGate()
  }
}
