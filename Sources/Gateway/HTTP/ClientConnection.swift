internal import CMicrohttpd
import EventLoop
import Glibc

/// A client's connection, from accept to close. libmicrohttpd pays no attention to a connection while its request is
/// suspended: this object watches the socket, so that a client who leaves is noticed at once.
final class ClientConnection {
  /// A client that has closed its side may still read: it gets its answer if that comes within so many milliseconds.
  private static let grace: UInt64 = 500

  private var watcher: SocketWatcher?
  private var timer: LoopTimer?
  /// The request under way. It takes itself out before it goes.
  unowned(unsafe) var exchange: Exchange?
  /// The connection's future, where it is taken over once libmicrohttpd is done with it.
  var takeover: Takeover?

  init(loop: EventLoop, descriptor: Int32) {
    // Without a watcher (no memory in the kernel) the connection works; only the client's leave is noticed late.
    watcher = try? SocketWatcher(loop: loop, descriptor: descriptor) { [unowned self] _ in
      watcher?.watch([])
      timer = LoopTimer(loop: loop) { [unowned self] in exchange?.clientIsGone() }
      timer?.start(after: Self.canRead(descriptor) ? Self.grace : 0, every: Self.grace)
    }
    watcher?.watch(.disconnect)
  }

  /// Whether the client has closed only its sending side: a reset shows as an error and a hang-up (poll(2)).
  private static func canRead(_ descriptor: Int32) -> Bool {
    var state = pollfd(fd: descriptor, events: 0, revents: 0)
    return poll(&state, 1, 0) == 0
  }

  /// Lets go of the socket, which is about to be closed.
  func close() {
    watcher?.watch([])
    watcher = nil
    timer = nil
  }
}

/// A connection that is about to change hands.
struct Takeover {
  let socket: ClientSocket
  /// A second descriptor of the connection, -1 where the system grants none: libmicrohttpd closes the first.
  let descriptor: Int32
  /// What the client has sent beyond its request.
  var received: [UInt8] = []

  init(_ socket: ClientSocket, of connection: OpaquePointer, received: [UInt8] = []) {
    self.socket = socket
    descriptor = fcntl(connection_descriptor(connection), F_DUPFD_CLOEXEC, 0)
    self.received = received
  }

  /// A connection that broke before it could change hands.
  init(gone socket: ClientSocket) {
    self.socket = socket
    descriptor = -1
  }

  func complete() { socket.open(descriptor, received: received) }
}

/// The client's address without its port, as text; of an IPv6 address the part that is a customer's own (RFC 6177), as
/// within it anybody has any number of addresses.
func peerAddress(of connection: OpaquePointer) -> String {
  guard let address = connection_address(connection) else { return "" }
  var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
  switch Int32(address.pointee.sa_family) {
  case AF_INET:
    address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
      var host = $0.pointee.sin_addr
      inet_ntop(AF_INET, &host, &text, socklen_t(text.count))
    }
  case AF_INET6:
    address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
      var host = $0.pointee.sin6_addr
      withUnsafeMutableBytes(of: &host) { bytes in
        for index in 8..<16 { bytes[index] = 0 }
      }
      inet_ntop(AF_INET6, &host, &text, socklen_t(text.count))
    }
  default:
    return "local"
  }
  return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
