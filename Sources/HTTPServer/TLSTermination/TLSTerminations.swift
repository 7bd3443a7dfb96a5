package import EventLoop
import Glibc
package import Logging
import TLS

/// All TLS connections of a shard. Belongs to the shard's loop.
package final class TLSTerminations {
  /// In milliseconds.
  package struct Limits: Sendable {
    /// How long a handshake may take.
    package var handshake: UInt64
    /// When to cut a connection that has ended but whose client takes nothing of what is left for it.
    package var stall: UInt64

    package init(handshake: UInt64 = 10_000, stall: UInt64 = 60_000) {
      self.handshake = handshake
      self.stall = stall
    }
  }

  package let loop: EventLoop
  package let limits: Limits
  package let logger: Logger
  /// What is carried goes here first: one buffer for all, as it is passed on at once.
  let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
  private let context: RenewableTLSContext
  package unowned let server: HTTPServer
  private var open: [TLSTermination] = []
  /// How many handshakes have ended well, and how many otherwise.
  package var handshakeCounts: (done: UInt64, failed: UInt64) = (0, 0)
  /// How many there are.
  package var count: Int { open.count }
  /// How many the server does not have: before the end of their handshakes, and after the end of what was served.
  private(set) var unservedCount = 0

  init(loop: EventLoop, context: RenewableTLSContext, limits: Limits, server: HTTPServer, logger: Logger) {
    self.loop = loop
    self.context = context
    self.limits = limits
    self.server = server
    self.logger = logger
  }

  deinit { scratch.deallocate() }

  /// Begins the handshake of a connection, which it takes over.
  ///
  /// - Parameter place: its place among the connections of its address, if these are counted for it.
  package func accept(_ socket: AcceptedSocket, place: AddressCounts.Place?) {
    var one: Int32 = 1
    // What is sent is whole answers, or all there is: nothing is gained by waiting for more (tcp(7)).
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

  /// Whether any of them has something for its client that the client's connection has not taken.
  var hasUnsent: Bool { open.contains { $0.hasUnsent } }

  /// Ends all, after what can be sent at once.
  package func close() {
    while let termination = open.last { termination.abandon() }
  }

  // MARK: - From the terminations

  /// Has the server serve one end of a pair, which it closes in any case; whether it does.
  func serve(_ descriptor: Int32, of termination: TLSTermination) -> Bool {
    server.serve(AcceptedSocket(descriptor, peer: termination.peer), through: termination)
  }

  /// There is something to read for the server.
  func haveInput() { server.needsRunSoon() }

  /// The server has one of them now.
  func oneIsServed() { unservedCount -= 1 }

  /// The server has lost one of them.
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
