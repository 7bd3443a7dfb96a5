import EventLoop

/// Slows down clients that guess passwords: each user name and each peer has a count of failures, which are forgiven
/// with time. A pure state machine; the caller passes the time.
struct LoginThrottle {
  /// How many failures a name or an address may have at once. One is forgiven a second.
  let burst: Double
  /// Milliseconds after which one failure is forgiven.
  static let forgiveness: Double = 1000
  /// At this number of buckets of names, or of peers, those without failures are dropped.
  private static let maxBuckets = 10_000

  private struct Bucket {
    var failures: Double
    var time: UInt64

    func failures(at now: UInt64) -> Double { max(0, failures - Double(now - time) / LoginThrottle.forgiveness) }
  }

  // By a hash of the name (keyed by this process), which is short however long the name is. Two names that share a
  // bucket are only slowed down together.
  private var users: [Int: Bucket] = [:]
  private var peers: [Peer: Bucket] = [:]

  /// The failures of all clients together. The limit is so many times that of one bucket, and they are forgiven so many
  /// times as fast.
  private var all = Bucket(failures: 0, time: 0)
  private static let crowd: Double = 4

  var bucketCount: Int { users.count + peers.count }

  init(burst: Int) { self.burst = Double(burst) }

  /// Whether the logins of all clients together fail too often.
  func isFlooded(now: UInt64) -> Bool {
    max(0, all.failures - Self.crowd * Double(now - all.time) / Self.forgiveness) > Self.crowd * burst
  }

  /// Whether logins from the peer have failed lately.
  func hasFailed(_ peer: Peer, now: UInt64) -> Bool { (peers[peer]?.failures(at: now) ?? 0) > 0 }

  /// The seconds after which a login may be tried again; nil if it may be tried now.
  func retryAfter(user: String, peer: Peer, now: UInt64) -> Int? {
    let failures = max(users[user.hashValue]?.failures(at: now) ?? 0, peers[peer]?.failures(at: now) ?? 0)
    return failures + 1 > burst ? Int((failures + 1 - burst).rounded(.up)) : nil
  }

  mutating func failed(user: String, peer: Peer, now: UInt64) {
    let left = all.failures - Self.crowd * Double(now - all.time) / Self.forgiveness
    // The count is capped: ten seconds after the failures have stopped, the flood is over at the latest.
    all = Bucket(failures: min(max(0, left) + 1, Self.crowd * (burst + 10)), time: now)
    Self.count(user.hashValue, in: &users, now: now)
    Self.count(peer, in: &peers, now: now)
  }

  /// Forgets the failures of all names, as after a change of users. Those of peers are kept.
  mutating func forgiveUsers() { users.removeAll() }

  private static func count<Name: Hashable>(_ name: Name, in buckets: inout [Name: Bucket], now: UInt64) {
    if buckets.count >= maxBuckets { buckets = buckets.filter { $0.value.failures(at: now) > 0 } }
    // Clients that keep so many buckets busy at once are held back by the limit of concurrent logins.
    if buckets.count >= maxBuckets { buckets.removeAll() }
    let failures = buckets[name]?.failures(at: now) ?? 0
    buckets[name] = Bucket(failures: failures + 1, time: now)
  }
}
