internal import COpenSSL

/// One entry of OpenSSL's error queue (ERR_get_error(3)).
///
/// The queue belongs to the thread, and an entry that one call leaves there is taken for the next call's. So each call
/// that may fail is preceded by ``clear()`` and, if it fails, followed by ``take()``.
struct OpenSSLReason {
  private let code: UInt

  /// Drops the entries of earlier calls.
  static func clear() { ERR_clear_error() }

  /// The cause of the failure, which is the oldest entry with a meaning; the queue is empty afterwards.
  static func take() -> OpenSSLReason {
    defer { ERR_clear_error() }
    var reason = OpenSSLReason(code: ERR_get_error())
    // After a write that failed, OpenSSL 3.5 leaves the system's error 0, which means nothing.
    while reason.isSystem && reason.number == 0 { reason = OpenSSLReason(code: ERR_get_error()) }
    return reason
  }

  /// Whether there was an entry.
  var isGiven: Bool { code != 0 }

  /// Whether it is an error of the system (`errno`).
  var isSystem: Bool { code != 0 && ERR_GET_LIB(code) == ERR_LIB_SYS }

  private var number: Int32 { ERR_GET_REASON(code) }

  /// Whether it is the given reason of libssl.
  func isSSL(_ reason: Int32) -> Bool { code != 0 && ERR_GET_LIB(code) == ERR_LIB_SSL && number == reason }

  /// Whether it is the given reason of the part that reads certificates.
  func isX509(_ reason: Int32) -> Bool { code != 0 && ERR_GET_LIB(code) == ERR_LIB_X509 && number == reason }

  /// The number of the alert that the peer sent (RFC 8446, section 6); nil if it was something else.
  var alert: Int32? {
    guard code != 0, ERR_GET_LIB(code) == ERR_LIB_SSL, number > SSL_AD_REASON_OFFSET else { return nil }
    return number - SSL_AD_REASON_OFFSET
  }

  /// OpenSSL's own words.
  var text: String { ERR_reason_error_string(code).map { String(cString: $0) } ?? "no reason given" }
}
