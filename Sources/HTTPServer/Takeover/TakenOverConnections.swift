package import EventLoop
import Glibc

/// All connections of a shard that were taken over from libmicrohttpd. Belongs to the shard's loop.
package final class TakenOverConnections {
  /// How often time limits are checked, in milliseconds, while there are sockets.
  static let tick: UInt64 = 250
  /// How many sockets are flushed in one turn of the loop: thousands that get the same frame must not delay other
  /// requests.
  private static let maxFlushes = 256

  let loop: EventLoop
  /// A client has stalled after so many milliseconds without progress.
  let stallLimit: UInt64
  /// How often to check whether a client makes progress.
  let lookInterval: UInt64
  /// Counts what is kept for clients.
  let memory: MemoryAccount
  private let trimmer: MemoryTrimmer
  /// Bytes are read into this first: one buffer for all sockets, as the bytes are passed on at once.
  let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)

  private var open: [TakenOverConnection] = []
  private var dirty: [TakenOverConnection] = []
  private var flushedCount = 0
  private let attended: AttendedList<TakenOverConnection>
  /// Wakes the loop while any socket is dirty: what is queued after the turn's flush is sent in the next turn.
  private lazy var nextTurn = LoopTimer(loop: loop) {}

  package init(loop: EventLoop, stallLimit: UInt64, memory: MemoryAccount, trimmer: MemoryTrimmer) {
    self.loop = loop
    self.stallLimit = stallLimit
    self.memory = memory
    self.trimmer = trimmer
    lookInterval = max(Self.tick, stallLimit / 4)
    attended = AttendedList(loop: loop, every: Self.tick) { $0.nextLook > loop.now || $0.lookAgain() }
  }

  deinit { scratch.deallocate() }

  /// How many are open, including those that are being closed in order.
  package var count: Int { open.count }
  /// How many of them only send the last answer of a connection.
  private(set) var partingCount = 0
  /// How many bytes all sockets were given, including those that are closed.
  package var sentBytes: UInt64 = 0
  /// Called when a socket is closed.
  var whenGone: () -> Void = {}

  /// Whether ``flush()`` has anything to do.
  package var needsFlush: Bool { !dirty.isEmpty }

  /// Sends what is queued. To be called once a turn, before the loop waits.
  package func flush() {
    let end = min(dirty.count, flushedCount + Self.maxFlushes)
    while flushedCount < end {
      let socket = dirty[flushedCount]
      flushedCount += 1
      socket.isDirty = false
      socket.flush()
    }
    if flushedCount == dirty.count {
      dirty.removeAll(keepingCapacity: dirty.count <= Self.maxFlushes)
      flushedCount = 0
      nextTurn.stop()
    } else {
      nextTurn.start(after: 0)
    }
  }

  /// Ends the sockets whose clients have taken nothing for a while, if more waits for them than any connection may
  /// have.
  package func endStalled() { for socket in open { socket.endIfStalled() } }

  /// Sends what can be sent at once, and ends all connections.
  func close() {
    while !dirty.isEmpty { flush() }
    while let socket = open.last { socket.abandon() }
    attended.stop()
  }

  // MARK: - From the sockets

  func add(_ socket: TakenOverConnection) {
    socket.slot = open.count
    open.append(socket)
    if socket.isParting { partingCount += 1 }
    trimmer.sockets.rise(to: open.count)
  }

  func remove(_ socket: TakenOverConnection) {
    guard socket.slot >= 0 else { return }
    let last = open.removeLast()
    if last !== socket {
      open[socket.slot] = last
      last.slot = socket.slot
    }
    socket.slot = -1
    if socket.isParting { partingCount -= 1 }
    whenGone()
    if trimmer.sockets.fall(to: open.count) { trimmer.trimSoon() }
  }

  func flushLater(_ socket: TakenOverConnection) {
    guard !socket.isDirty else { return }
    socket.isDirty = true
    if dirty.isEmpty { nextTurn.start(after: 0) }
    dirty.append(socket)
  }

  /// Adds the socket to those that are checked.
  func attend(_ socket: TakenOverConnection) { attended.attend(socket) }
}
