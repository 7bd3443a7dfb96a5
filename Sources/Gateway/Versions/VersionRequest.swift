import ByteBuffers
import EventLoop
import GrpcBridge
import TLS

/// One `GET /version` to a member over HTTP, at the address where it serves gRPC, on its own connection: etcd answers
/// it without credentials, whatever its users may do. Belongs to one loop.
final class VersionRequest {
  /// How large an answer may be with its head, in bytes.
  private static let maxBytes = 16_384

  private let request: OutgoingRequest
  private let head: String

  /// - Parameters:
  ///   - tls: the TLS settings; nil if TLS is not configured.
  ///   - completion: called once, later, with the member's versions; nil if it reports none.
  init(
    to endpoint: Endpoint, tls: ClientTLS?, loop: EventLoop, completion: @escaping (MemberVersions?) -> Void
  ) {
    var secure: OutgoingRequest.Secure?
    if endpoint.isSecure(withTLSConfigured: tls != nil) {
      secure = { try (tls ?? ClientTLS.standard.get()).session(over: $0, to: endpoint, forHTTP1: true) }
    }
    request = OutgoingRequest(to: endpoint, secure: secure, maxAnswer: Self.maxBytes, loop: loop) { result in
      guard case .success(let answer) = result, answer.status == 200 else { return completion(nil) }
      completion(MemberVersions(json: answer.body))
    }
    let host = endpoint.path == nil ? endpoint.authority : "localhost"
    // HTTP/1.0, so that the end of the answer is the end of the connection (RFC 9112, section 6.3).
    head = "GET /version HTTP/1.0\r\nHost: \(host)\r\nAccept: application/json\r\n\r\n"
  }

  /// Connects and sends the request.
  ///
  /// - Parameter timeout: how many milliseconds everything together may take.
  func start(timeout: UInt64) {
    var bytes = ByteBuffer()
    bytes.append(head.utf8)
    request.start(bytes, timeout: timeout)
  }

  /// Ends the request without calling `completion`.
  func cancel() { request.cancel() }
}
