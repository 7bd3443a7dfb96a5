internal import Synchronization

/// The keys by which calls of this process wait in queues, of all loops: several calls with the same lease wait by the same
/// key, which must stay for as long as any of them does.
final class QueueKeys: Sendable {
  private struct Entry {
    var count = 1
    /// A revision before the key was created by any of the calls; nil while that is being found out.
    var revision: Int64?
  }

  private let entries = Mutex<[[UInt8]: Entry]>([:])

  /// Counts a call in.
  ///
  /// - Returns: the revision before the key's creation, where another call knows it.
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

  /// Counts a call out.
  ///
  /// - Returns: whether it was the last one.
  func leave(_ key: [UInt8]) -> Bool {
    entries.withLock { entries in
      guard var entry = entries[key] else { return true }
      entry.count -= 1
      entries[key] = entry.count > 0 ? entry : nil
      return entry.count == 0
    }
  }
}
