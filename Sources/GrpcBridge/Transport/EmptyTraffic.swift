/// Limits how much a peer may send that carries nothing: empty frames, frames of unknown kinds, padding, and
/// acknowledgements that are not needed. Each of them costs the shard time, and HTTP/2 has no limit for them.
///
/// A balance in bytes: all that comes is subtracted. For each call, and for each byte of a message in either direction,
/// more is added than any peer needs for it. What is added with time is for all else that a peer has to send.
struct EmptyTraffic {
  /// How many bytes may carry nothing at once. Among them are the headers of responses, which may be large.
  static let most = 1 << 20
  /// How many more may come each second.
  static let perSecond = 16 << 10
  /// How many more may come for each byte of a message. A frame's header has 9 bytes; a WINDOW_UPDATE, of which there
  /// are two for each frame at most, has 13.
  static let perByte = 64
  /// How many more may come for each call, as headers alone may be its answer.
  static let perCall = 4 << 10
  /// The limit after cancelled calls, whose answers may still be under way: these are never more than the connection's
  /// window.
  static let mostCancelled = Int(HTTP2Session.connectionWindow) + most

  /// How many bytes that carry nothing may still come; negative if there were too many.
  private(set) var left = most
  private var refilledAt: UInt64

  /// - Parameter now: the time of the loop, in milliseconds.
  init(at now: UInt64) { refilledAt = now }

  /// `count` bytes have come.
  mutating func received(_ count: Int, at now: UInt64) {
    if now > refilledAt {
      earn(Int(min(now - refilledAt, 60_000)) * Self.perSecond / 1000, upTo: Self.most)
      refilledAt = now
    }
    left -= count
  }

  /// `count` bytes of a message have come, or were sent.
  mutating func carried(_ count: Int) { earn(count * Self.perByte, upTo: Self.most) }

  /// A call was sent.
  mutating func called() { earn(Self.perCall, upTo: Self.most) }

  /// A call was cancelled. As much of its answer as the stream's window may still come.
  mutating func cancelled() { earn(Int(HTTP2Session.streamWindow), upTo: Self.mostCancelled) }

  var isTooMuch: Bool { left < 0 }

  private mutating func earn(_ count: Int, upTo most: Int) {
    if left < most { left = min(most, left + count) }
  }
}
