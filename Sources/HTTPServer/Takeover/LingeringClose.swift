/// The end of a connection after its last answer: what the client still sends is read and thrown away for a while. If a
/// system closes a connection with unread bytes, it resets the connection, and the client loses what it has not read
/// yet (RFC 9112, section 9.6). Many clients and proxies send all of a request before they read.
struct LingeringClose {
  /// After its last byte a client has so many milliseconds to close its side.
  private static let patience: UInt64 = 5000
  /// The limit of the whole, in milliseconds, and of the bytes that are thrown away.
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

  /// Bytes were thrown away.
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
