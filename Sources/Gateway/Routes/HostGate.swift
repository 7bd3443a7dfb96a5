import EventLoop
import GrpcBridge
import HTTPServer

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
  private var waiting: [ObjectIdentifier: HostQuestion] = [:]
  private var question: Call?

  init(hosts: AllowedHosts, loop: EventLoop, bridge: Bridge) {
    self.hosts = hosts
    self.loop = loop
    self.bridge = bridge
  }

  /// Whether a request that goes to etcd has to wait for a ``HostQuestion``. Those without credentials meet
  /// ``Exchange/checkHost(_:)`` instead; a WebSocket may have them in its subprotocol.
  func isNeeded(for exchange: Exchange) -> Bool {
    guard loop.now >= isGuardedUntil, exchange.head.authorization != nil || exchange.head.asksForWebSocket else {
      return false
    }
    return exchange.foreignHost(hosts) != nil
  }

  /// Asks etcd. The request goes on by ``HostQuestion/hostIsExcused()``, or gets an answer.
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
    switch (status.code, status.origin) {
    case (.invalidArgument, .server), (.permissionDenied, .server), (.unauthenticated, .server):
      isGuardedUntil = loop.now + Self.memory
      for request in requests { request.hostIsExcused() }
    default:
      for request in requests { request.exchange.respond(.error(status, hadCredentials: true)) }
    }
  }
}

/// A request that waits at the ``HostGate``, and then at the gate that comes behind it, if any.
final class HostQuestion: RequestGate {
  // Invariant: the exchange owns its gate, and cancels it before it goes.
  fileprivate unowned let exchange: Exchange
  private unowned let hostGate: HostGate
  private let makeNext: () throws(RequestError) -> (any RequestGate)?
  private var next: (any RequestGate)?

  /// - Parameter next: makes the gate behind this one.
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

  /// Credentials excuse the name by which the client asks for the gateway.
  fileprivate func hostIsExcused() {
    do throws(RequestError) {
      next = try makeNext()
    } catch {
      return exchange.refuse(error)
    }
    if let next { next.ask() } else { exchange.leaveGate() }
  }
}
