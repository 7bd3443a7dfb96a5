internal import Synchronization

/// The keys by which calls of this process wait in queues, on all loops. Several calls with the same lease wait by the
/// same key, which must exist as long as any of them waits.
final class QueueKeys: Sendable {
  private struct Entry {
    var count = 1
    /// Whether any of the calls was granted: from then on the key belongs to its client.
    var isGranted = false
    /// A revision before any of the calls created the key; nil while it is not known yet.
    var revision: Int64?
  }

  private let entries = Mutex<[[UInt8]: Entry]>([:])

  /// Counts a call that begins to wait.
  ///
  /// - Returns: a revision before the key's creation, if another call knows it.
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

  /// etcd has granted a call, which no longer waits.
  func grant(_ key: [UInt8]) {
    entries.withLock { entries in
      entries[key]?.isGranted = true
      Self.countOut(key, &entries)
    }
  }

  /// Counts a call that has stopped waiting.
  ///
  /// - Returns: a revision before any of the calls created the key, if that is known and this was the last call: the
  ///   caller then deletes the key. Nil if the key must stay.
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
