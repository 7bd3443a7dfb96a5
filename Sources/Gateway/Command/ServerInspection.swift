import EventLoop
import Glibc
import GrpcBridge
import HTTPServer
import TLS

/// What is visible of an etcd over plain HTTP, at the address where it serves gRPC: the `Date` of an answer (RFC 9110,
/// section 6.6.1), and its certificate.
struct ServerInspection: Sendable {
  /// The version of TLS and the certificate, in one line; nil if there is no TLS.
  let tls: String?
  /// How many seconds the server's clock is ahead of this machine's; nil if the answer has no date.
  let clockOffset: Int?

  /// Why the server cannot be inspected, in one line.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Connects and sends a request, on a thread of its own.
  ///
  /// - Throws: ``Failure``.
  static func take(at endpoint: Endpoint, tls: TLSConfiguration?, patience: Duration) async throws -> ServerInspection {
    try await withCheckedThrowingContinuation { continuation in
      do {
        try detachThread(name: "etcd-rest check") {
          continuation.resume(with: Result { try ServerInspection(at: endpoint, tls: tls, patience: patience) })
        }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  private init(at endpoint: Endpoint, tls: TLSConfiguration?, patience: Duration) throws {
    let descriptor = try Self.connect(to: endpoint, patience)
    defer { close(descriptor) }
    var session: TLSSession?
    if endpoint.isSecure(withTLSConfigured: tls != nil) {
      do {
        let context = try ClientTLS(tls ?? TLSConfiguration(), protocols: ["http/1.1"], logger: .silent)
        session = context.session(over: descriptor, to: endpoint)
      } catch {
        throw Failure(description: error.description)
      }
    }
    if let session {
      guard case .done = session.handshake() else { throw Failure(description: "the TLS handshake does not end") }
    }
    let request = "GET /version HTTP/1.0\r\nHost: \(endpoint.authority)\r\n\r\n"
    try Self.send(Array(request.utf8), session, descriptor)
    let head = try Self.receiveHead(session, descriptor)
    let now = time(nil)
    clockOffset = Self.date(in: head).map { $0 &- now }
    self.tls = session.map { session in
      let certificate = session.peerCertificate.map { ", \($0.subject), good until \($0.end)" } ?? ""
      return session.version + certificate
    }
  }

  private static func connect(to endpoint: Endpoint, _ patience: Duration) throws -> Int32 {
    let addresses =
      if let path = endpoint.path {
        SocketAddress(unixPath: path).map { [$0] } ?? []
      } else {
        SocketAddress.resolve(host: endpoint.host, port: endpoint.port)
      }
    var limit = timeval(
      tv_sec: Int(patience.components.seconds), tv_usec: Int(patience.components.attoseconds / 1_000_000_000_000))
    for address in addresses {
      let descriptor = socket(address.family, SocketConstants.stream | SocketConstants.closeOnExec, 0)
      guard descriptor >= 0 else { continue }
      // These limit connecting, too (socket(7)).
      for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout.size(ofValue: limit)))
      }
      if address.withPointer({ Glibc.connect(descriptor, $0, $1) }) == 0 { return descriptor }
      close(descriptor)
    }
    throw Failure(description: "no connection")
  }

  private static func send(_ bytes: [UInt8], _ session: TLSSession?, _ descriptor: Int32) throws {
    let count = bytes.withUnsafeBytes { bytes in
      guard let session else { return Glibc.send(descriptor, bytes.baseAddress, bytes.count, SocketConstants.noSignal) }
      guard case .bytes(let count) = session.write(bytes) else { return -1 }
      return count
    }
    guard count == bytes.count else { throw Failure(description: "the connection takes no request") }
  }

  /// The bytes of an answer up to the end of its head, of the connection, or of the time limit.
  private static func receiveHead(_ session: TLSSession?, _ descriptor: Int32) throws -> [UInt8] {
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while head.count < 65_536 {
      let count = buffer.withUnsafeMutableBytes { buffer in
        guard let session else { return recv(descriptor, buffer.baseAddress, buffer.count, 0) }
        guard case .bytes(let count) = session.read(into: buffer) else { return -1 }
        return count
      }
      guard count > 0 else { break }
      head += buffer.prefix(count)
    }
    return head
  }

  /// The time in a `Date` header, in seconds since 1970; nil if there is none.
  private static func date(in head: [UInt8]) -> Int? {
    let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false)
    guard let line = lines.prefix(while: { !$0.isEmpty }).first(where: { $0.lowercased().hasPrefix("date:") }) else {
      return nil
    }
    return secondsSince1970(httpDate: line.dropFirst(5))
  }
}
