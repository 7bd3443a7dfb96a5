internal import COpenSSL
import Glibc

/// OpenSSL's access to the socket of a session (BIO_meth_new(3)).
///
/// OpenSSL's own socket BIO writes with write(2), which kills the process with SIGPIPE if the peer has gone. Only the
/// program may change the effect of that signal, and this is a library.
enum SocketBIO {
  /// Invariant for `@unchecked Sendable`: it is not changed after it was made.
  private struct Method: @unchecked Sendable {
    let raw: OpaquePointer
  }

  private static let method: Method = {
    // A source and sink of a new type.
    guard let raw = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket") else {
      fatalError("BIO_meth_new: out of memory")
    }
    BIO_meth_set_read(raw, readSocket)
    BIO_meth_set_write(raw, writeSocket)
    BIO_meth_set_ctrl(raw, controlSocket)
    return Method(raw: raw)
  }()

  /// Makes one that belongs to `session`, which must outlive it.
  static func make(for session: TLSSession) -> OpaquePointer {
    guard let bio = BIO_new(method.raw) else { fatalError("BIO_new: out of memory") }
    BIO_set_data(bio, Unmanaged.passUnretained(session).toOpaque())
    BIO_set_init(bio, 1)
    return bio
  }
}

/// The state of the socket under a session.
struct SocketState {
  let descriptor: Int32
  /// Whether the peer has sent anything at all.
  var hasReceived = false
  /// Whether the peer has closed its side.
  var isAtEnd = false
  /// The `errno` with which the connection was lost; 0 if it was not.
  var error: Int32 = 0
}

// MARK: - Callbacks: recover the object, do one thing

private func session(_ bio: OpaquePointer?) -> TLSSession {
  Unmanaged<TLSSession>.fromOpaque(BIO_get_data(bio)).takeUnretainedValue()
}

private func readSocket(_ bio: OpaquePointer?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int32) -> Int32 {
  bio_clear_retry(bio)
  let session = session(bio)
  while true {
    let count = recv(session.socket.descriptor, buffer, Int(capacity), 0)
    if count > 0 { session.socket.hasReceived = true }
    if count == 0 { session.socket.isAtEnd = true }
    if count >= 0 { return Int32(count) }
    switch errno {
    case EINTR: continue
    case EAGAIN: bio_retry_read(bio)
    case let code: session.socket.error = code
    }
    return -1
  }
}

private func writeSocket(_ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int32) -> Int32 {
  bio_clear_retry(bio)
  let session = session(bio)
  while true {
    let sent = send(session.socket.descriptor, bytes, Int(count), Int32(MSG_NOSIGNAL))
    if sent >= 0 { return Int32(sent) }
    switch errno {
    case EINTR: continue
    case EAGAIN: bio_retry_write(bio)
    case let code: session.socket.error = code
    }
    return -1
  }
}

private func controlSocket(_ bio: OpaquePointer?, _ command: Int32, _: Int, _: UnsafeMutableRawPointer?) -> Int {
  switch command {
  case BIO_CTRL_EOF: session(bio).socket.isAtEnd ? 1 : 0
  // There is nothing to flush, and OpenSSL gives up if that fails.
  case BIO_CTRL_FLUSH: 1
  default: 0
  }
}
