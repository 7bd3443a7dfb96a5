import EventLoop
import GrpcBridge

/// Finds out whether etcd looks at credentials at all, before a request with some is served that asks for a host which
/// is none of ``AllowedHosts``. Belongs to its shard's loop.
///
/// A page that has its own name point to the gateway has no credentials that etcd would take, but may send any: where
/// authentication is off, they excuse nothing. The answer is believed for a second.
final class HostGate: CallDelegate {
  /// In milliseconds.
  private static let memory: UInt64 = 1000

  private let hosts: AllowedHosts
  private let loop: EventLoop
  private let bridge: Bridge
  private var isGuardedUntil: UInt64 = 0
  private var waiting: [ObjectIdentifier: Exchange] = [:]
  private var question: Call?

  init(hosts: AllowedHosts, loop: EventLoop, bridge: Bridge) {
    self.hosts = hosts
    self.loop = loop
    self.bridge = bridge
  }

  /// Whether a request that goes to etcd has to wait for ``ask(for:)``. Those without credentials meet
  /// ``Exchange/checkHost(_:)`` instead; a WebSocket may have them in its subprotocol.
  func isNeeded(for exchange: Exchange) -> Bool {
    guard loop.now >= isGuardedUntil, exchange.head.authorization != nil || exchange.head.asksForWebSocket else {
      return false
    }
    return exchange.foreignHost(hosts) != nil
  }

  /// Asks etcd. The exchange hears of it by ``Exchange/hostIsExcused()``, or gets an answer.
  func ask(for exchange: Exchange) {
    waiting[ObjectIdentifier(exchange)] = exchange
    guard question == nil else { return }
    let call = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    question = call
    bridge.start(call, for: Caller(.none, peer: .itself))
  }

  func cancel(_ exchange: Exchange) { waiting[ObjectIdentifier(exchange)] = nil }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    question = nil
    let exchanges = waiting.values
    waiting = [:]
    if AccessQuestion.isYes(status) {
      for exchange in exchanges {
        exchange.respond(.error(.misdirected(exchange.foreignHost(hosts) ?? "", "as etcd checks no credentials")))
      }
      return
    }
    switch (status.code, status.origin) {
    case (.invalidArgument, .server), (.permissionDenied, .server), (.unauthenticated, .server):
      isGuardedUntil = loop.now + Self.memory
      for exchange in exchanges { exchange.hostIsExcused() }
    default:
      for exchange in exchanges { exchange.respond(.error(status, hadCredentials: true)) }
    }
  }
}
