import EventLoop

/// A stream's part of one turn of the loop.
///
/// One text may have a hundred thousand requests. Those that need no answer are held back by nothing else, and the
/// other clients of the shard would have to wait for all of them.
struct RequestTurn {
  /// How many requests a stream executes in one turn: they take about as long as a few requests over plain HTTP.
  private static let most = 64

  private let loop: EventLoop
  private var count = 0
  /// Fires in the next turn; nil while this one goes on.
  private var next: LoopTimer?

  init(on loop: EventLoop) { self.loop = loop }

  /// Whether further requests have to wait for the next turn.
  var isOver: Bool { next != nil }

  /// A request was executed.
  ///
  /// - Parameter goOn: is called in the next turn if this one is over; has to call ``begin()``.
  mutating func hasExecuted(_ goOn: @escaping () -> Void) {
    count += 1
    guard count == Self.most else { return }
    next = LoopTimer(loop: loop, goOn)
    next?.start(after: 0)
  }

  /// The next turn has come.
  mutating func begin() {
    count = 0
    next = nil
  }
}
