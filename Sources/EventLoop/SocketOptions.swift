import Glibc

/// Makes the system notice a peer that has vanished without a word (tcp(7)): a connection that is idle for 15 s is probed
/// every 5 s, and given up, with an error, after three probes, or once sent bytes were not acknowledged for 30 s. Sockets
/// accepted by a listening socket inherit this.
package func noticeVanishedPeers(_ descriptor: Int32) {
  func set(_ level: Int32, _ option: Int32, _ value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout.size(ofValue: value)))
  }
  set(SOL_SOCKET, SO_KEEPALIVE, 1)
  set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 15)
  set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 5)
  set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
  set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 30_000)
}
