import Foundation

/// A loopback port that can be opened and closed and stays reserved in between.
final class PeerListener {
  let port: UInt16
  /// The listening socket, while open.
  private(set) var socket: Int32?
  /// A socket that is bound and never listens: it keeps the port from being given to another process.
  private let holder: Int32

  init() throws {
    (holder, port) = try boundSocket(port: 0)
  }

  deinit {
    close()
    _ = Glibc.close(holder)
  }

  func listen() throws {
    guard socket == nil else { return }
    let (socket, _) = try boundSocket(port: port)
    self.socket = socket
    guard Glibc.listen(socket, 1024) == 0 else { throw TestSupportError(systemCall: "listen") }
  }

  func close() {
    if let socket { _ = Glibc.close(socket) }
    socket = nil
  }

  /// The next connection's socket; nil if there is none at the moment.
  func accept() -> Int32? {
    guard let socket else { return nil }
    let connection = Glibc.accept(socket, nil, nil)
    guard connection >= 0 else { return nil }
    _ = fcntl(connection, F_SETFL, O_NONBLOCK)
    _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
    var on: Int32 = 1
    setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout.size(ofValue: on)))
    return connection
  }
}

/// The type of a stream socket that never blocks and is closed in child processes.
package let nonBlockingStream = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)

/// Makes the next `close` of a socket send RST in place of FIN.
func makeCloseAbrupt(_ socket: Int32) {
  var value = linger(l_onoff: 1, l_linger: 0)
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout.size(ofValue: value)))
}

/// A TCP socket bound to a loopback port; all of them share ports, as only one at a time listens.
///
/// - Parameters:
///   - port: 0 for a free one.
///   - type: the type for socket(2).
package func boundSocket(port: UInt16, type: Int32 = nonBlockingStream) throws -> (socket: Int32, port: UInt16) {
  let result = socket(AF_INET, type, 0)
  guard result >= 0 else { throw TestSupportError(systemCall: "socket") }
  var on: Int32 = 1
  setsockopt(result, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout.size(ofValue: on)))
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  var size = socklen_t(MemoryLayout.size(ofValue: address))
  let bound = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
      bind(result, address, size) == 0 && getsockname(result, address, &size) == 0
    }
  }
  guard bound else {
    let error = TestSupportError(systemCall: "bind")
    _ = Glibc.close(result)
    throw error
  }
  return (result, UInt16(bigEndian: address.sin_port))
}
