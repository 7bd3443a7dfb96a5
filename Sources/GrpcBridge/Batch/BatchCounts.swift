/// How many reads have travelled together, since the bridge was made.
package struct BatchCounts: Equatable, Sendable {
  /// Transactions of reads that were sent.
  package internal(set) var batches = 0
  /// The reads that were sent in them, those that were equal counted once each.
  package internal(set) var batchedReads = 0
  /// Reads that were answered by an equal one's answer.
  package internal(set) var sharedReads = 0
  /// Reads that were asked alone as their batch had failed.
  package internal(set) var repeatedReads = 0
}
