import Glibc

/// Makes the system notice a peer that has vanished without a word (tcp(7)): a connection that is idle for 15 s is
/// probed every 5 s, and given up, with an error, after three probes. Sockets accepted by a listening socket inherit
/// this.
///
/// - Parameter patience: after how many milliseconds to give up if the peer does not acknowledge what is sent either;
///   nil leaves that to the sender.
package func noticeVanishedPeer(_ descriptor: Int32, patience: Int32? = nil) {
  func set(_ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout.size(ofValue: value)))
  }
  set(SOL_SOCKET, SO_KEEPALIVE, 1)
  set(SocketConstants.tcp, TCP_KEEPIDLE, 15)
  set(SocketConstants.tcp, TCP_KEEPINTVL, 5)
  set(SocketConstants.tcp, TCP_KEEPCNT, 3)
  if let patience { set(SocketConstants.tcp, TCP_USER_TIMEOUT, patience) }
}

/// Whether a peer that has disconnected has only closed its sending side, so that it may still read: after a reset
/// there would be an error and a hang-up (poll(2)).
package func isHalfOpen(_ descriptor: Int32) -> Bool {
  var state = pollfd(fd: descriptor, events: 0, revents: 0)
  return poll(&state, 1, 0) == 0
}

/// How many bytes a TCP connection has carried.
package struct TCPCounts {
  package let received: UInt64
  package let sent: UInt64

  /// - Returns: nil if the system has no counts, as for connections that do not use TCP.
  package init?(_ descriptor: Int32) {
    // Offsets in `struct tcp_info` of linux/tcp.h, which grows at its end; glibc's has no `tcpi_bytes_received` and
    // `_sent`.
    let (receivedOffset, sentOffset) = (128, 200)
    let counts: (UInt64, UInt64)? = withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { info in
      var length = socklen_t(info.count)
      guard getsockopt(descriptor, SocketConstants.tcp, TCP_INFO, info.baseAddress, &length) == 0,
        Int(length) >= sentOffset + MemoryLayout<UInt64>.size
      else { return nil }
      return (
        info.load(fromByteOffset: receivedOffset, as: UInt64.self),
        info.load(fromByteOffset: sentOffset, as: UInt64.self)
      )
    }
    guard let counts else { return nil }
    (received, sent) = counts
  }
}
