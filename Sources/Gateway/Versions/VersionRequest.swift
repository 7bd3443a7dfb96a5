import EventLoop
import GrpcBridge
import TLS

/// One `GET /version` to a member over HTTP, at the address where it serves gRPC, on a connection of its own: etcd
/// answers it to anybody, whatever its users may do. Belongs to one loop.
///
/// HTTP/1.0, so that the end of the answer is the end of the connection (RFC 9112, section 6.3).
final class VersionRequest {
  /// How large an answer may be, with its head.
  private static let maxBytes = 16_384

  private let loop: EventLoop
  private let endpoint: Endpoint
  private let tls: ClientTLS?
  private let isSecure: Bool
  private var completion: ((MemberVersions?) -> Void)?
  private var dialer: Dialer?
  private var socket: StreamSocket?
  private var wire: ByteTransport?
  private var isSecured = false
  private var answer: [UInt8] = []
  private var timer: LoopTimer?

  /// - Parameters:
  ///   - tls: what TLS is configured with; nil where it is not.
  ///   - completion: hears once, later, what the member says; nil where that is nothing of use.
  init(
    to endpoint: Endpoint, tls: ClientTLS?, loop: EventLoop, completion: @escaping (MemberVersions?) -> Void
  ) {
    self.loop = loop
    self.endpoint = endpoint
    self.tls = tls
    self.completion = completion
    isSecure = endpoint.isSecure(withTLSConfigured: tls != nil)
  }

  /// Connects and asks.
  ///
  /// - Parameter timeout: how many milliseconds all of it may take.
  func start(timeout: UInt64) {
    timer = LoopTimer(loop: loop) { [unowned self] in finish(nil) }
    timer?.start(after: timeout)
    dialer = Dialer(loop: loop, endpoint: endpoint) { [unowned self] result in
      switch result {
      case .success(let socket): connected(socket)
      // Not from within the start, which its caller may not expect.
      case .failure: timer?.start(after: 0)
      }
    }
    dialer?.start()
  }

  /// Ends it without another word.
  func cancel() {
    completion = nil
    finish(nil)
  }

  private func connected(_ socket: StreamSocket) {
    dialer = nil
    self.socket = socket
    var session: TLSSession?
    if isSecure {
      guard let tls = try? tls ?? ClientTLS.standard.get() else { return finish(nil) }
      session = tls.session(over: socket.descriptor, to: endpoint, forHTTP1: true)
    }
    let wire = ByteTransport(socket, tls: session, expectedProtocol: nil)
    self.wire = wire
    let host = endpoint.path == nil ? endpoint.authority : "localhost"
    Array("GET /version HTTP/1.0\r\nHost: \(host)\r\nAccept: application/json\r\n\r\n".utf8)
      .withUnsafeBytes { wire.queue($0) }
    socket.onEvent = { [unowned self] _ in serve() }
    serve()
  }

  private func serve() {
    withExtendedLifetime(self) {
      guard let wire else { return }
      if !isSecured {
        switch wire.handshake() {
        case .done: isSecured = true
        case .underWay: return
        case .failed: return finish(nil)
        }
      }
      do { try wire.send() } catch { return finish(nil) }
      receive(wire)
    }
  }

  private func receive(_ wire: ByteTransport) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { buffer in
      while answer.count <= Self.maxBytes {
        switch wire.read(into: buffer) {
        case .bytes(let count, _): answer += buffer[..<count]
        case .wouldBlock: return wire.watch()
        case .closed: return finish(versions)
        case .failed: return finish(nil)
        }
      }
      finish(nil)
    }
  }

  /// What a whole answer says (RFC 9112, sections 2 and 4).
  private var versions: MemberVersions? {
    let end = Array("\r\n\r\n".utf8)
    guard answer.starts(with: "HTTP/1.".utf8), answer.dropFirst(8).starts(with: " 200".utf8),
      let head = answer.indices.first(where: { answer[$0...].starts(with: end) })
    else { return nil }
    return MemberVersions(json: Array(answer[(head + end.count)...]))
  }

  private func finish(_ versions: MemberVersions?) {
    timer = nil
    dialer = nil
    wire = nil
    socket = nil
    completion.take()?(versions)
  }
}
