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
  /// What carries the connection, where it is a TLS connection.
  let relay: TLSRelay?

  init(loop: EventLoop, descriptor: Int32, relay: TLSRelay?) {
    self.relay = relay
    // Without a watcher (no memory in the kernel) the connection works; only the client's leave is noticed late.
    watcher = try? SocketWatcher(loop: loop, descriptor: descriptor) { [unowned self] _ in
      watcher?.watch([])
      timer = LoopTimer(loop: loop) { [unowned self] in exchange?.clientIsGone() }
      timer?.start(after: isHalfOpen(descriptor) ? Self.grace : 0, every: Self.grace)
    }
    watcher?.watch(.disconnect)
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
  let relay: TLSRelay?
  /// What the client has sent beyond its request.
  var received: [UInt8] = []

  init(_ socket: ClientSocket, of connection: OpaquePointer, relay: TLSRelay?, received: [UInt8] = []) {
    self.socket = socket
    self.relay = relay
    descriptor = fcntl(connection_descriptor(connection), F_DUPFD_CLOEXEC, 0)
    self.received = received
  }

  /// A connection that broke before it could change hands.
  init(gone socket: ClientSocket) {
    self.socket = socket
    relay = nil
    descriptor = -1
  }

  func complete() { socket.open(descriptor, relay: relay, received: received) }
}

/// The client's address as ``peerName(_:)`` has it.
func peerAddress(of connection: OpaquePointer) -> String {
  guard let address = connection_address(connection) else { return "" }
  return peerName(address)
}
