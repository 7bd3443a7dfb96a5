/// The waits between attempts: exponential, with jitter, so that many clients do not return at the same moment.
package struct Backoff {
  /// In milliseconds.
  let first: Double
  /// In milliseconds.
  let most: Double
  let factor: Double
  private var next: Double

  package init(first: Double, most: Double, factor: Double) {
    self.first = first
    self.most = most
    self.factor = factor
    next = first
  }

  /// Between attempts to connect (gRPC documentation, "Connection Backoff Protocol", but with waits short enough for a
  /// local member).
  static let connection = Backoff(first: 50, most: 1000, factor: 1.6)
  /// Between the end of a stream and the stream that replaces it, as in clientv3.
  package static let stream = Backoff(first: 1, most: 100, factor: 1.25)

  /// The next wait, in milliseconds.
  package mutating func wait() -> UInt64 {
    let wait = next * Double.random(in: 0.8...1.2)
    next = min(next * factor, most)
    return UInt64(wait.rounded(.up))
  }

  package mutating func reset() { next = first }
}
