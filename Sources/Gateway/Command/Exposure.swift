import EventLoop
import GrpcBridge
import HTTPServer
import Logging

// Warnings at the start about settings that may be unintended.

extension ListenAddress {
  /// Whether other machines can reach it.
  var isBeyondLoopback: Bool {
    switch place {
    case .tcp("localhost", _), .unix: false
    case .tcp(let host, _): SocketAddress(numericHost: host, port: 0)?.ipAddress?.isLoopback != true
    // The socket may have any address.
    case .given: true
    }
  }

  /// Whether clients of other machines send their passwords there in plaintext.
  ///
  /// - Parameter proxies: if there are any, they may provide TLS for the clients.
  func isOpenInPlaintext(_ proxies: TrustedProxies) -> Bool {
    isBeyondLoopback && !isTLS && !isAdmin && proxies.isEmpty
  }
}

extension ServeConfiguration {
  /// Warns of what the flags expose to others.
  func warnOfExposure(_ upstreamTLS: TLSConfiguration?) {
    if upstreamTLS?.verifiesServer == false {
      logger.warning("--insecure-skip-tls-verify: an attacker between here and etcd can read and change everything")
    }
    guard let identity = settings.identity else { return }
    let hasClientCertificates = tls?.authorities != nil
    let open = listen.first { $0.isBeyondLoopback && !$0.isAdmin && !($0.isTLS && hasClientCertificates) }
    guard let open else { return }
    logger.warning(
      "--user: every client that reaches \(open) is this user to etcd, without a password",
      metadata: ["user": "\(identity.user)"]
    )
  }
}

/// Asks etcd once whether authentication is on, and warns if it is: then passwords arrive in plaintext. Belongs to its
/// shard's loop.
final class PlaintextWarning: CallDelegate {
  /// How long to wait before the next question if etcd has not answered, in milliseconds.
  private static let pause: UInt64 = 10_000

  private let address: String
  private unowned let bridge: Bridge
  private let logger: Logger
  private var question: Call?
  private var timer: LoopTimer!

  /// - Parameter address: the address at which the passwords arrive.
  init(_ address: String, bridge: Bridge, loop: EventLoop, logger: Logger) {
    self.address = address
    self.bridge = bridge
    self.logger = logger
    timer = LoopTimer(loop: loop) { [unowned self] in ask() }
    timer.start(after: 0)
  }

  /// Ends the question without a warning.
  func stop() {
    timer.stop()
    if let question { bridge.cancel(question) }
    question = nil
  }

  private func ask() {
    let question = AccessQuestion.call(timeout: AccessQuestion.timeout, delegate: self)
    self.question = question
    bridge.start(question, for: Caller(.none, peer: .itself))
  }

  func call(_ call: Call, willReceive length: Int) {}
  func call(_ call: Call, received bytes: UnsafeRawBufferPointer) {}

  func call(_ call: Call, endedWith status: GRPCStatus) {
    question = nil
    guard !AccessQuestion.isYes(status) else { return }
    guard status.origin == .server, [.invalidArgument, .permissionDenied, .unauthenticated].contains(status.code) else {
      return timer.start(after: Self.pause)
    }
    logger.warning(
      "\(address) has no TLS: clients send passwords in clear text; see --tls-cert or --trusted-proxies")
  }
}
