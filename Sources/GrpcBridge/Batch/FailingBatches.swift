/// The users whose batches fail so often that they cost more than they save. A pure structure.
struct FailingBatches {
  private struct Record {
    var score = 0
    var end: UInt64 = 0
  }

  /// How much a failure adds to the score; a batch that is answered subtracts 1.
  private static let weight = 8
  /// The score at which a user's reads go alone.
  private static let most = 32
  /// For how long they do, in milliseconds.
  private static let pause: UInt64 = 10_000
  /// How many users are remembered.
  private static let capacity = 1000

  private var records: [Token?: Record] = [:]

  /// Whether the reads of the user with `token` are to go alone.
  func contains(_ token: Token?, at now: UInt64) -> Bool {
    guard !records.isEmpty, let record = records[token] else { return false }
    return now < record.end
  }

  mutating func failed(_ token: Token?, at now: UInt64) {
    if records.count >= Self.capacity, let victim = records.keys.first { records[victim] = nil }
    var record = records[token] ?? Record()
    record.score += Self.weight
    if record.score >= Self.most { record = Record(score: Self.most / 2, end: now + Self.pause) }
    records[token] = record
  }

  mutating func succeeded(_ token: Token?) {
    guard !records.isEmpty, let score = records[token]?.score else { return }
    records[token] = score > 1 ? Record(score: score - 1) : nil
  }
}
