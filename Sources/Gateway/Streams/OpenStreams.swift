import DequeModule
import EventLoop
import HTTPServer
import Synchronization

/// A client's stream of any kind, as the shard sees it. Belongs to its shard's loop.
protocol OpenStream: AnyObject {
  /// The gateway is about to stop: a stream without an end of its own ends now.
  func gatewayStops()
  /// Nothing was sent for as long as the client's heartbeat interval.
  func beat()
  /// The client's time limit for the whole stream is over.
  func expire()
  /// The client has not sent in time what it has to send.
  func hasWaitedInVain()
  /// The place of the stream, which has no valid request yet, is needed for another one.
  func losesPlace()
}

extension OpenStream {
  func hasWaitedInVain() {}
  func losesPlace() {}
}

/// How many streams are open on all shards. WebSockets without a valid request so far are counted separately: otherwise
/// they could take all places.
final class StreamCount: Sendable {
  private let most: Int
  private let maxNew: Int
  private let count = Atomic(0)
  private let newCount = Atomic(0)

  /// - Parameters:
  ///   - most: how many streams there may be.
  ///   - maxNew: how many WebSockets without a valid request there may be besides.
  init(most: Int, maxNew: Int) {
    self.most = most
    self.maxNew = min(maxNew, most)
  }

  /// Counts one more stream; false if the limit is reached.
  fileprivate func enter() -> Bool { Self.enter(count, most) }

  /// Whether there is a place for a valid stream.
  fileprivate var hasPlace: Bool { count.load(ordering: .relaxed) < most }

  /// Counts one more stream that has no valid request yet. If there is no place for a valid stream, there is none for
  /// this one either.
  fileprivate func enterNew() -> Bool { hasPlace && Self.enter(newCount, maxNew) }

  private static func enter(_ count: borrowing Atomic<Int>, _ most: Int) -> Bool {
    if count.wrappingAdd(1, ordering: .relaxed).newValue <= most { return true }
    count.wrappingSubtract(1, ordering: .relaxed)
    return false
  }

  fileprivate func leave(isNew: Bool) {
    if isNew {
      newCount.wrappingSubtract(1, ordering: .relaxed)
    } else {
      count.wrappingSubtract(1, ordering: .relaxed)
    }
  }
}

/// The streams of one shard. Belongs to its loop.
final class OpenStreams {
  /// The place of one stream among the open ones, held as long as this object lives.
  final class Place {
    private let streams: OpenStreams
    /// Whether the stream has no valid request yet.
    fileprivate(set) var isNew: Bool
    fileprivate unowned let stream: any OpenStream
    fileprivate var index: Int
    /// After how many milliseconds without anything sent to beat; 0 for never.
    private let interval: UInt64
    fileprivate var nextBeat = UInt64.max
    fileprivate var end = UInt64.max
    /// The time by which the client has to send something.
    fileprivate var waitsUntil = UInt64.max {
      didSet { updateClock() }
    }
    /// Whether it is counted among the places with a time limit.
    private var isTimed = false

    fileprivate init(
      _ streams: OpenStreams, stream: any OpenStream, index: Int, isNew: Bool, heartbeat: UInt64?, timeout: UInt64?
    ) {
      self.streams = streams
      self.isNew = isNew
      self.stream = stream
      self.index = index
      interval = heartbeat ?? 0
      if let timeout { end = streams.loop.now + timeout }
      hasSent()
      updateClock()
    }

    deinit {
      if isTimed { streams.timedCount -= 1 }
      streams.remove(self)
    }

    private func updateClock() {
      let isTimed = interval > 0 || end < .max || waitsUntil < .max
      guard isTimed != self.isTimed else { return }
      self.isTimed = isTimed
      streams.timedCount += isTimed ? 1 : -1
    }

    /// The client has to send something from now on: `hasWaitedInVain` is called after `limit` milliseconds unless this
    /// is called again. Nil for nothing.
    func wait(for limit: UInt64?) {
      waitsUntil = limit.map { streams.loop.now + $0 } ?? .max
    }

    /// The same, until a time of the loop's clock.
    func wait(until end: UInt64) { waitsUntil = end }

    /// Gives the stream, which now has a valid request, a place among the others.
    ///
    /// - Throws: the error for the client if there is no place.
    func confirm() throws(RequestError) {
      guard isNew else { return }
      guard streams.count.enter() else { throw OpenStreams.noPlace }
      streams.count.leave(isNew: true)
      isNew = false
      streams.forgetNew(self)
    }

    /// Puts the next beat off: the client has just been sent something.
    func hasSent() {
      if interval > 0 { nextBeat = streams.loop.now + interval }
    }
  }

  /// How late a beat or an end may be, in milliseconds.
  private static let tick: UInt64 = 250

  private let loop: EventLoop
  private let count: StreamCount
  // Unowned: a place removes itself before it is released.
  private var places: [Unmanaged<Place>] = []
  /// The places of streams without a valid request, the oldest first.
  private var newPlaces: Deque<Unmanaged<Place>> = []
  private var timedCount = 0 {
    didSet {
      // The timer stops itself: otherwise a stream that starts to wait again and again would postpone it for ever.
      if timedCount > 0 && !timer.isActive { timer.start(after: Self.tick, every: Self.tick) }
    }
  }
  private lazy var timer = LoopTimer(loop: loop) { [unowned self] in lookAtTheTime() }
  private var isStopping = false

  init(loop: EventLoop, count: StreamCount) {
    self.loop = loop
    self.count = count
  }

  /// Admits a stream that begins.
  ///
  /// - Parameters:
  ///   - heartbeat: after how many milliseconds without anything sent to call `beat`; nil for never.
  ///   - timeout: after how many milliseconds to call `expire`; nil for never.
  ///   - isNew: whether the stream has no valid request yet: see ``Place/confirm()``.
  /// - Throws: the error for the client if there can be no more streams.
  func admit(
    _ stream: any OpenStream, heartbeat: UInt64?, timeout: UInt64?, isNew: Bool = false
  ) throws(RequestError) -> Place {
    if isStopping { throw RequestError(503, .unavailable, Self.stopping, headers: [("Retry-After", "1")]) }
    guard isNew ? enterNew() : count.enter() else { throw isNew ? Self.noNewPlace : Self.noPlace }
    let place = Place(self, stream: stream, index: places.count, isNew: isNew, heartbeat: heartbeat, timeout: timeout)
    places.append(Unmanaged.passUnretained(place))
    if isNew { newPlaces.append(Unmanaged.passUnretained(place)) }
    return place
  }

  /// Counts one more stream that has no valid request yet. If there are too many, the oldest one of this shard ends: a
  /// client that means it sends its first request at once, so that nobody can keep the others out.
  private func enterNew() -> Bool {
    if count.enterNew() { return true }
    guard count.hasPlace, let oldest = newPlaces.first?.takeUnretainedValue().stream else { return false }
    oldest.losesPlace()
    return count.enterNew()
  }

  private func forgetNew(_ place: Place) {
    let place = Unmanaged.passUnretained(place).toOpaque()
    // It is the first, or among the last ones.
    if newPlaces.first?.toOpaque() == place {
      newPlaces.removeFirst()
    } else if let index = newPlaces.lastIndex(where: { $0.toOpaque() == place }) {
      newPlaces.remove(at: index)
    }
  }

  /// Ends all streams without an end of their own, and admits no more.
  func stop() {
    isStopping = true
    // Kept alive while the list changes.
    for place in places.map({ $0.takeUnretainedValue() }) { place.stream.gatewayStops() }
  }

  private static let noPlace = RequestError(
    503, .unavailable, "too many streams are open (--max-streams)", headers: [("Retry-After", "5")])
  private static let noNewPlace = RequestError(
    503, .unavailable,
    "too many streams are open (--max-streams), or WebSockets without a valid request (--max-new-websockets)",
    headers: [("Retry-After", "5")])

  /// The error for the client of a stream that ends for that reason.
  static let stopping = "the gateway is stopping"

  private func remove(_ place: Place) {
    let last = places.removeLast()
    if place.index < places.count {
      places[place.index] = last
      last.takeUnretainedValue().index = place.index
    }
    if place.isNew { forgetNew(place) }
    count.leave(isNew: place.isNew)
  }

  private func lookAtTheTime() {
    guard timedCount > 0 else { return timer.stop() }
    let now = loop.now
    for place in places.map({ $0.takeUnretainedValue() }) {
      if place.end <= now {
        place.stream.expire()
      } else if place.waitsUntil <= now {
        place.stream.hasWaitedInVain()
      } else if place.nextBeat <= now {
        place.stream.beat()
        place.hasSent()
      }
    }
  }
}
