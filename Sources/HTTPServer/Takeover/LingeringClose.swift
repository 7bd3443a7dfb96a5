/// The end of a connection whose last answer was sent: what the client still sends is read and thrown away for a while,
/// as a system that closes a connection with unread bytes resets it, upon which the client loses what it
/// has yet to read (RFC 9112, section 9.6). Many clients and proxies send all of a request before they read.
struct LingeringClose {
  /// A client that has nothing more to send has so many milliseconds to close its side.
  private static let patience: UInt64 = 5000
  /// How long it may last at most, in milliseconds, and how many bytes may be thrown away.
  private static let maxTime: UInt64 = 30_000
  private static let maxBytes = 64 << 20

  private let end: UInt64
  private var nextByteUntil: UInt64
  private var bytesLeft = LingeringClose.maxBytes

  /// - Parameter now: the time of the loop, in milliseconds.
  init(now: UInt64) {
    end = now + Self.maxTime
    nextByteUntil = now + Self.patience
  }

  /// Takes note of what was thrown away.
  ///
  /// - Parameters:
  ///   - count: how many bytes.
  ///   - now: the time of the loop, in milliseconds.
  mutating func hasDiscarded(_ count: Int, now: UInt64) {
    bytesLeft -= count
    nextByteUntil = now + Self.patience
  }

  /// Whether the connection is to be closed, whatever the client does.
  func isOver(now: UInt64) -> Bool { bytesLeft <= 0 || now >= min(end, nextByteUntil) }
}
