/// A histogram of durations as Prometheus has it, from 200 µs, which is what a read takes, to 10 s.
package struct Durations: Sendable, Equatable {
  /// The upper bounds of its buckets in seconds; the last bucket has none.
  package static let bounds = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
  ]
  /// How many counters it takes in a row of ``CounterRows``: one for each bucket, and the sum in nanoseconds.
  package static var width: Int { 17 }

  /// How many durations there were in each bucket alone.
  package private(set) var counts: [UInt64]
  /// The sum of all durations.
  package private(set) var nanoseconds: UInt64

  /// - Parameter counters: ``width`` of them.
  package init(_ counters: ArraySlice<UInt64>) {
    counts = Array(counters.dropLast())
    nanoseconds = counters.last ?? 0
  }

  package var count: UInt64 { counts.reduce(0, &+) }

  package mutating func add(_ other: Durations) {
    for (index, count) in other.counts.enumerated() where index < counts.count { counts[index] &+= count }
    nanoseconds &+= other.nanoseconds
  }

  /// Counts a duration.
  ///
  /// - Parameter counters: ``width`` of them.
  @inline(__always)
  package static func count(_ nanoseconds: UInt64, in counters: UnsafeMutablePointer<UInt64>) {
    counters[bucket(of: nanoseconds)] &+= 1
    counters[width - 1] &+= nanoseconds
  }

  /// The bounds once more, compared as constants, the most frequent first.
  @inline(__always)
  static func bucket(of nanoseconds: UInt64) -> Int {
    switch nanoseconds {
    case ...200_000: 0
    case ...500_000: 1
    case ...1_000_000: 2
    case ...2_000_000: 3
    case ...5_000_000: 4
    case ...10_000_000: 5
    case ...20_000_000: 6
    case ...50_000_000: 7
    case ...100_000_000: 8
    case ...200_000_000: 9
    case ...500_000_000: 10
    case ...1_000_000_000: 11
    case ...2_000_000_000: 12
    case ...5_000_000_000: 13
    case ...10_000_000_000: 14
    default: 15
    }
  }
}
