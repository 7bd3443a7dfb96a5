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

/// Wakes the peer's thread.
final class PeerWakeUp: Sendable {
  /// Readable after ``wake()``.
  let descriptor: Int32
  private let waker: Int32

  init() throws {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, nonBlockingStream, 0, &ends) == 0 else {
      throw TestSupportError(systemCall: "socketpair")
    }
    (descriptor, waker) = (ends[0], ends[1])
  }

  deinit {
    _ = Glibc.close(descriptor)
    _ = Glibc.close(waker)
  }

  /// A full buffer is no loss: then there are enough wake-ups.
  func wake() { _ = send(waker, [1], 1, Int32(MSG_NOSIGNAL)) }

  /// The thread is awake.
  func reset() {
    var wakeUps = [UInt8](repeating: 0, count: 256)
    while recv(descriptor, &wakeUps, wakeUps.count, 0) > 0 {}
  }
}

/// What carries the bytes of a peer's connection.
protocol PeerWire: AnyObject {
  /// The bytes that have come; empty if there are none for now, nil if the client has closed the connection.
  func read() -> [UInt8]?
  /// Takes as many bytes as it can now.
  /// - Returns: how many; nil if the client has closed the connection.
  func write(_ bytes: ArraySlice<UInt8>) -> Int?
  func close(abruptly: Bool)
}

/// A connection's socket, which it owns.
final class PeerSocket: PeerWire {
  private(set) var descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 65_536)

  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(abruptly: false) }

  func read() -> [UInt8]? {
    let count = recv(descriptor, &buffer, buffer.count, 0)
    if count < 0 && (errno == EAGAIN || errno == EINTR) { return [] }
    return count > 0 ? Array(buffer[..<count]) : nil
  }

  func write(_ bytes: ArraySlice<UInt8>) -> Int? {
    while true {
      let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count >= 0 { return count }
      if errno != EINTR { return errno == EAGAIN ? 0 : nil }
    }
  }

  func close(abruptly: Bool) {
    guard descriptor >= 0 else { return }
    if abruptly { makeCloseAbrupt(descriptor) }
    _ = Glibc.close(descriptor)
    descriptor = -1
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
