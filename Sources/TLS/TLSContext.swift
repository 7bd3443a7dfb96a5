internal import COpenSSL
import Glibc
internal import Synchronization

/// The common part of all sessions of one side (`SSL_CTX`): certificates, checks, versions, and a client's memory of
/// earlier sessions.
///
/// Invariant for `@unchecked Sendable`: the `SSL_CTX` is not changed after `init` has returned. OpenSSL 3 itself locks
/// what sessions do with it (count references, read certificates).
package final class TLSContext: @unchecked Sendable {
  // Owned.
  let raw: OpaquePointer
  let settings: TLSSettings
  /// The common name in the subject of this side's certificate; nil if there is none.
  package let commonName: String?
  /// The newest session with each peer, by the client's names for peers.
  private let resumable = Mutex<[String: ResumableSession]>([:])
  /// The protocols in ALPN's form: each after its length.
  private let protocolList: UnsafeMutableBufferPointer<UInt8>

  /// Reads the files.
  ///
  /// - Throws: ``TLSError`` of the kind `file`, which names the file and its fault.
  package init(_ settings: TLSSettings) throws(TLSError) {
    OpenSSLReason.clear()
    guard let raw = SSL_CTX_new(settings.role == .client ? TLS_client_method() : TLS_server_method()) else {
      throw TLSError(.violation, "OpenSSL does not work: \(OpenSSLReason.take().text)")
    }
    do {
      commonName = try Self.load(settings, into: raw)
    } catch {
      SSL_CTX_free(raw)
      throw error
    }
    self.raw = raw
    self.settings = settings
    let list = settings.protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    protocolList = .allocate(capacity: list.count)
    _ = protocolList.initialize(from: list)
    configure()
  }

  deinit {
    SSL_CTX_free(raw)
    protocolList.deallocate()
  }

  /// Reads the files, and returns the common name of this side's certificate.
  private static func load(_ settings: TLSSettings, into raw: OpaquePointer) throws(TLSError) -> String? {
    if let path = settings.authorities {
      try read(path, "certificate") { SSL_CTX_load_verify_file(raw, path) }
      if settings.role == .server, settings.verification != .none {
        // Tells clients with several certificates which one is wanted.
        SSL_CTX_set_client_CA_list(raw, SSL_load_client_CA_file(path))
      }
    } else if settings.verification != .none {
      SSL_CTX_set_default_verify_paths(raw)
    }
    guard let certificate = settings.certificate else { return nil }
    try read(certificate, "certificate") { SSL_CTX_use_certificate_chain_file(raw, certificate) }
    try load(key: settings.key ?? certificate, into: raw)
    return SSL_CTX_get0_certificate(raw).flatMap { TLSCertificate(lent: $0).commonName }
  }

  private static func load(key path: String, into raw: OpaquePointer) throws(TLSError) {
    var isLocked = false
    // Otherwise OpenSSL would ask the terminal for a passphrase.
    SSL_CTX_set_default_passwd_cb(raw) { _, _, _, isLocked in
      isLocked?.assumingMemoryBound(to: Bool.self).pointee = true
      return -1
    }
    defer { SSL_CTX_set_default_passwd_cb_userdata(raw, nil) }
    try withUnsafeMutablePointer(to: &isLocked) { isLocked throws(TLSError) in
      SSL_CTX_set_default_passwd_cb_userdata(raw, isLocked)
      do throws(TLSError) {
        try read(path, "private key") { SSL_CTX_use_PrivateKey_file(raw, path, SSL_FILETYPE_PEM) }
      } catch {
        guard isLocked.pointee else { throw error }
        throw TLSError(.file, "\(path): the private key has a passphrase; one without is needed")
      }
    }
  }

  private static func read(_ path: String, _ what: String, by load: () -> Int32) throws(TLSError) {
    // OpenSSL does not say clearly why a file cannot be opened.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw TLSError(.file, "\(path): \(String(cString: strerror(errno)))") }
    var status = stat()
    fstat(descriptor, &status)
    close(descriptor)
    guard status.st_mode & S_IFMT == S_IFREG else { throw TLSError(.file, "\(path): not a file") }
    OpenSSLReason.clear()
    guard load() != 1 else { return }
    let reason = OpenSSLReason.take()
    if reason.isX509(X509_R_KEY_VALUES_MISMATCH) || reason.isX509(X509_R_KEY_TYPE_MISMATCH) {
      throw TLSError(.file, "\(path): the private key is not that of the certificate")
    }
    throw TLSError(.file, "\(path): no \(what) can be read from it: \(reason.text)")
  }

  private func configure() {
    tls_context_set_minimum(raw, settings.minimumVersion.number)
    // Renegotiation is an attack on processor time, and writes that wait for reads would only complicate things.
    tls_context_refuse_renegotiation(raw)
    tls_context_read_ahead(raw)
    tls_context_add_modes(raw, Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER))
    let context = Unmanaged.passUnretained(self).toOpaque()
    var mode = settings.verification == .none ? SSL_VERIFY_NONE : SSL_VERIFY_PEER
    switch settings.role {
    case .client:
      SSL_CTX_set_alpn_protos(raw, protocolList.baseAddress, UInt32(protocolList.count))
      // TLS 1.3 issues sessions at any time after the handshake: only a callback gets them.
      tls_context_set_cache_mode(raw, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
      SSL_CTX_sess_set_new_cb(raw, keepSession)
    case .server:
      // There may be thousands of idle clients: none keeps buffers.
      tls_context_add_modes(raw, Int(SSL_MODE_RELEASE_BUFFERS))
      if !protocolList.isEmpty { SSL_CTX_set_alpn_select_cb(raw, selectProtocol, context) }
      // Clients keep their sessions themselves, as tickets.
      tls_context_set_cache_mode(raw, Int(SSL_SESS_CACHE_OFF))
      SSL_CTX_set_session_id_context(raw, "etcd-rest", 9)
      if settings.verification == .required { mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT }
    }
    SSL_CTX_set_verify(raw, mode, noteVerification)
  }

  // MARK: - Resumption

  /// The newest session with a peer that can be resumed.
  func session(with peer: String) -> ResumableSession? {
    resumable.withLock { $0[peer] }.flatMap { $0.isResumable ? $0 : nil }
  }

  /// Keeps a session for later connections to the same peer.
  func keep(_ session: ResumableSession, with peer: String) { resumable.withLock { $0[peer] = session } }

  fileprivate func select(
    _ selected: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?, _ length: UnsafeMutablePointer<UInt8>?,
    from offered: UnsafePointer<UInt8>?, count: UInt32
  ) -> Bool {
    SSL_select_next_proto(selected, length, protocolList.baseAddress, UInt32(protocolList.count), offered, count)
      == OPENSSL_NPN_NEGOTIATED
  }
}

/// A session that later connections can resume (`SSL_SESSION`).
///
/// Invariant for `@unchecked Sendable`: it is not changed after the callback has got it; OpenSSL counts its references.
final class ResumableSession: @unchecked Sendable {
  let raw: OpaquePointer

  init(takingOwnershipOf raw: OpaquePointer) { self.raw = raw }

  deinit { SSL_SESSION_free(raw) }

  var isResumable: Bool { SSL_SESSION_is_resumable(raw) == 1 }
}

// MARK: - Callbacks: recover the object, call one method

private func keepSession(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
  guard let ssl, let session else { return 0 }
  // 1 means that this side owns the reference (SSL_CTX_sess_set_new_cb(3)).
  return TLSSession.of(ssl).keep(session) ? 1 : 0
}

private func selectProtocol(
  _: OpaquePointer?, _ selected: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ length: UnsafeMutablePointer<UInt8>?,
  _ offered: UnsafePointer<UInt8>?, _ count: UInt32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  let context = Unmanaged<TLSContext>.fromOpaque(context!).takeUnretainedValue()
  var choice: UnsafeMutablePointer<UInt8>?
  // A server that has no protocol in common with its client sends an alert (RFC 7301, section 3.2).
  guard context.select(&choice, length, from: offered, count: count) else { return SSL_TLSEXT_ERR_ALERT_FATAL }
  selected?.pointee = UnsafePointer(choice)
  return SSL_TLSEXT_ERR_OK
}

private func noteVerification(_ isGood: Int32, _ store: OpaquePointer?) -> Int32 {
  guard isGood == 0, let store,
    let ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())
  else { return isGood }
  TLSSession.of(OpaquePointer(ssl)).note(
    fault: X509_STORE_CTX_get_error(store), in: X509_STORE_CTX_get_current_cert(store))
  return isGood
}
