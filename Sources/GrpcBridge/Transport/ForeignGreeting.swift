/// What a peer speaks whose first bytes are not those of HTTP/2.
enum ForeignGreeting: String {
  case tls = "the peer speaks TLS: use https://"
  case http1 = "the peer speaks HTTP/1, not gRPC"

  /// - Parameter bytes: the first that came. An HTTP/2 server begins with a SETTINGS frame (RFC 9113, section 3.4).
  init?(_ bytes: UnsafeRawBufferPointer) {
    // An alert or a handshake record of any version of TLS (RFC 8446, section 5.1).
    if bytes.count > 1, bytes[0] == 0x15 || bytes[0] == 0x16, bytes[1] == 3 {
      self = .tls
    } else if bytes.starts(with: "HTTP/1.".utf8) {
      self = .http1
    } else {
      return nil
    }
  }
}
