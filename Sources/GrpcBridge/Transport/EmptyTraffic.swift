/// How much a peer may send that carries nothing: frames without content, of unknown kinds, padding, and
/// acknowledgements that are not needed. Each costs the shard time, and HTTP/2 has no bound for them.
///
/// A balance in bytes: all that comes is taken from it, and what carries something, either way, puts back more than any
/// peer needs around it. What is left over in between is for the peer's housekeeping.
struct EmptyTraffic {
  /// So much may come for nothing at once. A response's header, which may be large, is among it.
  static let most = 1 << 20
  /// So much more in each second.
  static let perSecond = 16 << 10
  /// So many bytes may come with each byte of a message. A frame takes 9, and a WINDOW_UPDATE, of which there are two
  /// for each frame at most, takes 13.
  static let perByte = 64
  /// So many with each call, which may be answered by headers alone.
  static let perCall = 4 << 10
  /// Answers that are under way when their calls are cancelled have no reader: never more than the connection's window.
  static let mostCancelled = Int(HTTP2Session.connectionWindow) + most

  /// How many bytes may still come for nothing; less than none once it is too much.
  private(set) var left = most
  private var refilledAt: UInt64

  /// - Parameter now: the time of the loop, in milliseconds.
  init(at now: UInt64) { refilledAt = now }

  /// Bytes have come.
  mutating func received(_ count: Int, at now: UInt64) {
    if now > refilledAt {
      earn(Int(min(now - refilledAt, 60_000)) * Self.perSecond / 1000, upTo: Self.most)
      refilledAt = now
    }
    left -= count
  }

  /// Bytes of a message have come, or were sent.
  mutating func carried(_ count: Int) { earn(count * Self.perByte, upTo: Self.most) }

  /// A call was sent.
  mutating func called() { earn(Self.perCall, upTo: Self.most) }

  /// A call was cancelled: a window of its answer may be under way.
  mutating func cancelled() { earn(Int(HTTP2Session.streamWindow), upTo: Self.mostCancelled) }

  var isTooMuch: Bool { left < 0 }

  private mutating func earn(_ count: Int, upTo most: Int) {
    if left < most { left = min(most, left + count) }
  }
}
