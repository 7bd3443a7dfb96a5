internal import COpenSSL
import Glibc

/// One side of a TLS connection over a non-blocking socket (`SSL`). It does not own the descriptor, and belongs to one
/// thread at a time.
///
/// It reads ahead: it may have bytes though the socket has none. So a reader that stops before
/// ``Transfer/wantsReadable`` has to check ``hasPendingBytes`` before it waits for the socket.
package final class TLSSession {
  /// The progress of a handshake or of a close.
  package enum Progress {
    case done
    /// To be called again once the socket is readable.
    case wantsReadable
    /// To be called again once the socket is writable.
    case wantsWritable
    case failed(TLSError)
  }

  /// The outcome of one read or write.
  package enum Transfer {
    case bytes(Int)
    /// To be called again once the socket is readable.
    case wantsReadable
    /// To be called again once the socket is writable; a write with the same bytes, or with more bytes after them.
    case wantsWritable
    /// The peer has sent close_notify, and all of its bytes were read.
    case closed
    case failed(TLSError)
  }

  // Owned, and the BIO with it.
  private let raw: OpaquePointer
  let context: TLSContext
  var socket: SocketState
  /// The name or address of a client's peer; empty for servers.
  private let serverName: String
  /// The client's name for the peer in the memory of sessions.
  private let peer: String
  /// The fault of the peer's certificate.
  private var verificationFault: String?
  private var isEstablished = false
  private var isBroken = false

  private init(context: TLSContext, descriptor: Int32, serverName: String, peer: String) {
    self.context = context
    self.serverName = serverName
    self.peer = peer
    socket = SocketState(descriptor: descriptor)
    OpenSSLReason.clear()
    guard let raw = SSL_new(context.raw) else { fatalError("SSL_new: \(OpenSSLReason.take().text)") }
    self.raw = raw
    SSL_set_ex_data(raw, 0, Unmanaged.passUnretained(self).toOpaque())
    let bio = SocketBIO.make(for: self)
    SSL_set_bio(raw, bio, bio)
  }

  /// Makes a server's side.
  package convenience init(server context: TLSContext, descriptor: Int32) {
    self.init(context: context, descriptor: descriptor, serverName: "", peer: "")
    SSL_set_accept_state(raw)
  }

  /// Makes a client's side.
  ///
  /// - Parameters:
  ///   - serverName: the name or address for which the server's certificate must be valid. A name is also sent to the
  ///     server (SNI, RFC 6066, section 3).
  ///   - peer: identifies this server: an earlier session with the same one is resumed.
  ///   - offersProtocols: whether to agree on one of the context's protocols (ALPN).
  package convenience init(
    client context: TLSContext, descriptor: Int32, serverName: String, peer: String, offersProtocols: Bool = true
  ) {
    self.init(context: context, descriptor: descriptor, serverName: serverName, peer: "\(serverName) \(peer)")
    SSL_set_connect_state(raw)
    if !offersProtocols { SSL_set_alpn_protos(raw, nil, 0) }
    // Only alternative names count, never the common name, and '*' only as a whole label (RFC 9525, section 6.3).
    SSL_set_hostflags(raw, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    if X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(raw), serverName) != 1 {
      SSL_set1_host(raw, serverName)
      tls_set_host_name(raw, serverName)
    }
    OpenSSLReason.clear()
    if let session = context.session(with: self.peer) { SSL_set_session(raw, session.raw) }
  }

  deinit {
    // Otherwise OpenSSL takes the session for a broken one, which cannot be resumed (SSL_set_shutdown(3)).
    if isEstablished && !isBroken { SSL_set_shutdown(raw, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
    SSL_free(raw)
  }

  /// The session of OpenSSL's `ssl`.
  static func of(_ ssl: OpaquePointer) -> TLSSession {
    Unmanaged<TLSSession>.fromOpaque(SSL_get_ex_data(ssl, 0)).takeUnretainedValue()
  }

  // MARK: - Bytes

  /// Continues the handshake.
  package func handshake() -> Progress {
    OpenSSLReason.clear()
    let code = SSL_do_handshake(raw)
    guard code == 1 else { return progress(after: code) }
    isEstablished = true
    return .done
  }

  /// Reads what has come, at most one record (16 KiB).
  package func read(into buffer: UnsafeMutableRawBufferPointer) -> Transfer {
    OpenSSLReason.clear()
    var count = 0
    socket.error = 0
    let code = SSL_read_ex(raw, buffer.baseAddress, buffer.count, &count)
    return code == 1 ? .bytes(count) : transfer(after: code)
  }

  /// Writes as much of `bytes`, which must not be empty, as the socket takes now.
  package func write(_ bytes: UnsafeRawBufferPointer) -> Transfer {
    OpenSSLReason.clear()
    var count = 0
    let code = SSL_write_ex(raw, bytes.baseAddress, bytes.count, &count)
    return code == 1 ? .bytes(count) : transfer(after: code)
  }

  /// Sends close_notify (RFC 8446, section 6.1). The peer may still send, and may still be read.
  package func close() -> Progress {
    // Before the end of the handshake, and after a failure, no close_notify may be sent (SSL_shutdown(3)).
    guard isEstablished && !isBroken else { return .done }
    OpenSSLReason.clear()
    let code = SSL_shutdown(raw)
    return code >= 0 ? .done : progress(after: code)
  }

  // MARK: - State

  /// Whether there are bytes to be read that the socket does not report.
  package var hasPendingBytes: Bool { SSL_has_pending(raw) == 1 }

  /// The negotiated protocol (ALPN); nil if there is none.
  package var negotiatedProtocol: String? {
    var name: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    SSL_get0_alpn_selected(raw, &name, &count)
    return count == 0 ? nil : String(decoding: UnsafeBufferPointer(start: name, count: Int(count)), as: UTF8.self)
  }

  /// Whether an earlier session was resumed.
  package var isResumed: Bool { SSL_session_reused(raw) == 1 }

  /// The negotiated version, such as `TLSv1.3`.
  package var version: String { String(cString: SSL_get_version(raw)) }

  /// The subject of the peer's certificate, and the end of its validity; nil if the peer has sent none.
  package var peerCertificate: (subject: String, end: String)? {
    SSL_get0_peer_certificate(raw).map { TLSCertificate(lent: $0) }.map { ($0.subject, $0.end) }
  }

  // MARK: - Reports of OpenSSL

  /// - Returns: whether the session is kept, and its reference taken over.
  func keep(_ session: OpaquePointer) -> Bool {
    guard !peer.isEmpty else { return false }
    context.keep(ResumableSession(takingOwnershipOf: session), with: peer)
    return true
  }

  func note(fault: Int32, in certificate: OpaquePointer?) {
    guard verificationFault == nil else { return }
    verificationFault =
      VerificationFault(
        code: fault, certificate: certificate.map { TLSCertificate(lent: $0) }, serverName: serverName,
        authorities: context.settings.authorities
      ).description
  }

  // MARK: - Failures

  private func progress(after code: Int32) -> Progress {
    switch transfer(after: code) {
    case .wantsReadable: .wantsReadable
    case .wantsWritable: .wantsWritable
    case .failed(let error): .failed(error)
    case .bytes, .closed: .failed(TLSError(.truncated, "the peer said goodbye during the handshake"))
    }
  }

  private func transfer(after code: Int32) -> Transfer {
    switch SSL_get_error(raw, code) {
    case SSL_ERROR_WANT_READ: return .wantsReadable
    case SSL_ERROR_WANT_WRITE: return .wantsWritable
    case SSL_ERROR_ZERO_RETURN: return .closed
    default:
      isBroken = true
      return .failed(failure(OpenSSLReason.take()))
    }
  }

  private func failure(_ reason: OpenSSLReason) -> TLSError {
    // The system's error is in the socket's state: this project's BIO has put it there.
    let isSilent = !reason.isGiven || reason.isSystem
    let isTransport = isSilent || reason.isSSL(SSL_R_UNEXPECTED_EOF_WHILE_READING)
    if isTransport && !isEstablished && !socket.hasReceived {
      return TLSError(.notTLS, "the peer closed the connection instead of answering in TLS; does it speak TLS?")
    }
    if isSilent && socket.error != 0 { return TLSError(.system, String(cString: strerror(socket.error))) }
    if isTransport {
      return TLSError(
        .truncated,
        isEstablished
          ? "the connection ended without TLS's close_notify"
          : "the peer closed the connection during the TLS handshake")
    }
    if let alert = reason.alert {
      let words = describe(alert: alert, certificate: context.settings.certificate)
      return TLSError(.refused, "the peer rejected the TLS handshake: \(words)")
    }
    if reason.isSSL(SSL_R_CERTIFICATE_VERIFY_FAILED), let verificationFault {
      return TLSError(.verification, "certificate verify failed: \(verificationFault)")
    }
    if !isEstablished && reason.isOfForeignProtocol { return TLSError(.notTLS, "the peer does not speak TLS") }
    return TLSError(.violation, reason.description(for: context.settings))
  }
}
