/// The protocol of a peer that does not speak HTTP/2, by its first bytes.
enum ForeignGreeting: String {
  case tls = "the peer speaks TLS: use https://"
  case http1 = "the peer speaks HTTP/1, not gRPC"

  /// - Parameter bytes: the first bytes of the peer. An HTTP/2 server begins with a SETTINGS frame (RFC 9113, section
  ///   3.4).
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
