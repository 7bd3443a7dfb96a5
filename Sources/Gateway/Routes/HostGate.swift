import EventLoop
import GrpcBridge
import HTTPServer

/// Asks etcd whether it checks credentials at all, before a request with credentials is served whose host is not in
/// ``AllowedHosts``. Belongs to its shard's loop.
///
/// A page whose own name resolves to the gateway has no credentials that etcd would accept, but may send any: if
/// authentication is off, they prove nothing. The answer is remembered for a second.
final class HostGate: CallDelegate {
  /// How long the answer is remembered, in milliseconds.
  private static let memory: UInt64 = 1000

  private let hosts: AllowedHosts
  private let loop: EventLoop
  private let bridge: Bridge
  private var isGuardedUntil: UInt64 = 0
  private var waiting: [ObjectIdentifier: HostQuestion] = [:]
  private var question: Call?

  init(hosts: AllowedHosts, loop: EventLoop, bridge: Bridge) {
    self.hosts = hosts
    self.loop = loop
    self.bridge = bridge
  }

  /// Whether a request that goes to etcd has to wait for a ``HostQuestion``. Requests without credentials are checked
  /// by ``Exchange/checkHost(_:)`` instead; a WebSocket may have them in its subprotocol.
  func isNeeded(for exchange: Exchange) -> Bool {
    guard loop.now >= isGuardedUntil, exchange.head.authorization != nil || exchange.head.asksForWebSocket else {
      return false
    }
    return exchange.foreignHost(hosts) != nil
  }

  /// Asks etcd. The request continues with ``HostQuestion/hostIsExcused()``, or gets an answer.
  fileprivate func ask(_ request: HostQuestion) {
    waiting[ObjectIdentifier(request)] = request
    guard question == nil else { return }
    let call = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    question = call
    bridge.start(call, for: Caller(.none, peer: .itself))
  }

  fileprivate func cancel(_ request: HostQuestion) { waiting[ObjectIdentifier(request)] = nil }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    question = nil
    let requests = waiting.values
    waiting = [:]
    if AccessQuestion.isYes(status) {
      for request in requests {
        let host = request.exchange.foreignHost(hosts) ?? ""
        request.exchange.refuse(.misdirected(host, "as etcd checks no credentials"))
      }
      return
    }
    guard AccessQuestion.isNo(status) else {
      for request in requests { request.exchange.respond(.error(status, hadCredentials: true)) }
      return
    }
    isGuardedUntil = loop.now + Self.memory
    for request in requests { request.hostIsExcused() }
  }
}

/// A request that waits at the ``HostGate``, and then at the next gate, if there is one.
final class HostQuestion: RequestGate {
  // Invariant: the exchange owns its gate, and cancels it before the exchange is released.
  fileprivate unowned let exchange: Exchange
  private unowned let hostGate: HostGate
  private let makeNext: () throws(RequestError) -> (any RequestGate)?
  private var next: (any RequestGate)?

  /// - Parameter next: makes the next gate.
  init(
    _ exchange: Exchange, at hostGate: HostGate, next: @escaping () throws(RequestError) -> (any RequestGate)?
  ) {
    self.exchange = exchange
    self.hostGate = hostGate
    makeNext = next
  }

  func ask() { hostGate.ask(self) }

  func cancel() {
    hostGate.cancel(self)
    next?.cancel()
  }

  /// etcd checks the credentials, so that any host is allowed.
  fileprivate func hostIsExcused() {
    do throws(RequestError) {
      next = try makeNext()
    } catch {
      return exchange.refuse(error)
    }
    if let next { next.ask() } else { exchange.leaveGate() }
  }
}
