package import EventLoop
import Glibc

/// All connections of a shard that were taken over from libmicrohttpd. Belongs to the shard's loop.
package final class TakenOverConnections {
  /// How often time limits are looked at, in milliseconds, while there are any.
  package static let tick: UInt64 = 250
  /// How many sockets are flushed in one turn of the loop: thousands that read the same must not hold up other
  /// requests.
  private static let maxFlushes = 256

  package let loop: EventLoop
  /// After how many milliseconds without progress a client has stalled.
  package let stallLimit: UInt64
  /// How often to look whether a client makes progress.
  let lookInterval: UInt64
  /// What is kept for clients.
  package let memory: MemoryAccount
  private let trimmer: MemoryTrimmer
  /// What is read goes here first: one buffer for all, as it is passed on at once.
  let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)

  private var open: [TakenOverConnection] = []
  private var dirty: [TakenOverConnection] = []
  private var flushedCount = 0
  private let attended: AttendedList<TakenOverConnection>
  /// Wakes the loop while any socket is dirty: whatever comes after the turn's flush goes out in the next turn.
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

  /// How many are open, those included that are being closed in good order.
  package var count: Int { open.count }
  /// How many of them are there for nothing but the end of a connection.
  private(set) var partingCount = 0
  /// How many bytes they were sent, all those included that have gone.
  package var sentBytes: UInt64 = 0
  /// Called when one has gone.
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

  /// Ends those whose clients have taken nothing for a while of more than any connection may have waiting.
  package func endStalled() { for socket in open { socket.endIfStalled() } }

  /// Sends what is queued, as far as it can be sent at once, and ends all connections.
  package func close() {
    while !dirty.isEmpty { flush() }
    while let socket = open.last { socket.abandon() }
    attended.stop()
  }

  // MARK: - From the sockets

  package func add(_ socket: TakenOverConnection) {
    socket.slot = open.count
    open.append(socket)
    if socket.isParting { partingCount += 1 }
    trimmer.sockets.rise(to: open.count)
  }

  package func remove(_ socket: TakenOverConnection) {
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

  /// Looks at the socket when its time has come.
  func attend(_ socket: TakenOverConnection) { attended.attend(socket) }
}
