/// The waits between attempts to connect: exponential, with jitter so that many clients do not come back at once
/// (gRPC documentation, "Connection Backoff Protocol", with waits as short as a local member deserves).
struct Backoff {
  static let first: Double = 50
  static let most: Double = 1000
  private var next = first

  /// How many milliseconds to wait now.
  mutating func wait() -> UInt64 {
    let wait = next * Double.random(in: 0.8...1.2)
    next = min(next * 1.6, Self.most)
    return UInt64(wait)
  }

  mutating func reset() { next = Self.first }
}
