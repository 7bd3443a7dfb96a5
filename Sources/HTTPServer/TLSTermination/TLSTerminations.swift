import EventLoop
import Glibc
import Logging
import TLS

/// All TLS connections of a shard. Belongs to the shard's loop.
package final class TLSTerminations {
  /// Time limits, in milliseconds.
  package struct Limits: Sendable {
    /// How long a handshake may take.
    var handshake: UInt64
    /// When to cut a connection that has ended if its client takes nothing of what is left.
    var stall: UInt64

    package init(handshake: UInt64 = 10_000, stall: UInt64 = 60_000) {
      self.handshake = handshake
      self.stall = stall
    }
  }

  let loop: EventLoop
  let limits: Limits
  let logger: Logger
  /// Bytes are read into this first: one buffer for all terminations, as the bytes are passed on at once.
  let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
  private let context: RenewableTLSContext
  unowned let server: HTTPServer
  private var open: [TLSTermination] = []
  /// How many handshakes have succeeded, and how many failed.
  package var handshakeCounts: (done: UInt64, failed: UInt64) = (0, 0)
  /// How many terminations there are.
  var count: Int { open.count }
  /// How many the server does not have: those in a handshake, and those whose served side has ended.
  private(set) var unservedCount = 0

  init(loop: EventLoop, context: RenewableTLSContext, limits: Limits, server: HTTPServer, logger: Logger) {
    self.loop = loop
    self.context = context
    self.limits = limits
    self.server = server
    self.logger = logger
  }

  deinit { scratch.deallocate() }

  /// Takes over a connection and begins its handshake.
  ///
  /// - Parameter place: its place among the connections of its address, if these are counted.
  func accept(_ socket: AcceptedSocket, place: AddressCounts.Place?) {
    var one: Int32 = 1
    // Whole answers, or all available bytes, are sent at once: delaying them has no use (tcp(7)).
    setsockopt(socket.descriptor, SocketConstants.tcp, TCP_NODELAY, &one, socklen_t(MemoryLayout.size(ofValue: one)))
    let session = TLSSession(server: context.current, descriptor: socket.descriptor)
    guard let termination = try? TLSTermination(socket, session: session, place: place, terminations: self) else {
      Glibc.close(socket.descriptor)
      return
    }
    termination.slot = open.count
    open.append(termination)
    unservedCount += 1
  }

  /// Whether any termination has bytes for its client that the client's connection has not taken.
  var hasUnsent: Bool { open.contains { $0.hasUnsent } }

  /// Sends what can be sent at once, and ends all terminations.
  func close() {
    while let termination = open.last { termination.abandon() }
  }

  // MARK: - From the terminations

  /// Has the server serve one end of a pair, which the server closes in any case. Returns whether it is served.
  func serve(_ descriptor: Int32, of termination: TLSTermination) -> Bool {
    server.serve(AcceptedSocket(descriptor, peer: termination.peer), through: termination)
  }

  /// The server has something to read.
  func haveInput() { server.needsRunSoon() }

  /// The server now serves one of the connections.
  func oneIsServed() { unservedCount -= 1 }

  /// The server no longer serves one of the connections.
  func oneIsNoLongerServed() { unservedCount += 1 }

  func remove(_ termination: TLSTermination) {
    let last = open.removeLast()
    if last !== termination {
      open[termination.slot] = last
      last.slot = termination.slot
    }
    unservedCount -= 1
    server.connectionHasGone()
  }
}
