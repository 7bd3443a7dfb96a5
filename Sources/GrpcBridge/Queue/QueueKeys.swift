internal import Synchronization

/// The keys by which calls of this process wait in queues, of all loops: several calls with the same lease wait by the
/// same key, which must stay for as long as any of them does.
final class QueueKeys: Sendable {
  private struct Entry {
    var count = 1
    /// Whether any of the calls has what it waited for: from then on the key is its client's.
    var isGranted = false
    /// A revision before the key was created by any of the calls; nil while that is being found out.
    var revision: Int64?
  }

  private let entries = Mutex<[[UInt8]: Entry]>([:])

  /// Counts a call in.
  ///
  /// - Returns: a revision before the key's creation, where another call knows it.
  func enter(_ key: [UInt8]) -> Int64? {
    entries.withLock { entries in
      guard var entry = entries[key] else {
        entries[key] = Entry()
        return nil
      }
      entry.count += 1
      entries[key] = entry
      return entry.revision
    }
  }

  /// Keeps the revision for further calls, unless an older one is known.
  func know(_ revision: Int64, of key: [UInt8]) {
    entries.withLock { entries in
      guard let known = entries[key] else { return }
      entries[key]?.revision = min(known.revision ?? .max, revision)
    }
  }

  /// Takes note that etcd has granted what a call waited for, and counts it out.
  func grant(_ key: [UInt8]) {
    entries.withLock { entries in
      entries[key]?.isGranted = true
      Self.countOut(key, &entries)
    }
  }

  /// Counts a call out.
  ///
  /// - Returns: a revision before the key was created by any of the calls, if it is no longer needed and that is
  ///   known: who has left last deletes it. Nil if it is to stay.
  func leave(_ key: [UInt8]) -> Int64? {
    entries.withLock { entries in
      guard let entry = entries[key] else { return nil }
      Self.countOut(key, &entries)
      return entry.count > 1 || entry.isGranted ? nil : entry.revision
    }
  }

  private static func countOut(_ key: [UInt8], _ entries: inout [[UInt8]: Entry]) {
    guard let count = entries[key]?.count else { return }
    if count > 1 { entries[key]?.count = count - 1 } else { entries[key] = nil }
  }
}
