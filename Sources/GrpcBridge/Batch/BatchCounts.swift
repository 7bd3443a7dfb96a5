/// How many reads have shared a transaction, since the bridge was made.
package struct BatchCounts: Equatable, Sendable {
  /// Transactions of reads that were sent.
  package internal(set) var batches = 0
  /// The reads in those transactions; equal reads count once.
  package internal(set) var batchedReads = 0
  /// Reads that got the answer of an equal one.
  package internal(set) var sharedReads = 0
  /// Reads that were sent again alone because their batch had failed.
  package internal(set) var repeatedReads = 0
}
