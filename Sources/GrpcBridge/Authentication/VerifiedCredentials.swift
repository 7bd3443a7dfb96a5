/// Which users and passwords etcd has let in, by their keyed hash: they are let in again though others guess. Bounded:
/// those that were not asked for since go first.
struct VerifiedCredentials {
  private let limit: Int
  private var recent: Set<CredentialKey> = []
  private var older: Set<CredentialKey> = []

  var count: Int { recent.count + older.count }

  /// - Parameter limit: how many are kept at most.
  init(limit: Int) { self.limit = max(2, limit) }

  mutating func insert(_ key: CredentialKey) {
    recent.insert(key)
    older.remove(key)
    guard recent.count > limit / 2 else { return }
    older = recent
    recent = []
  }

  /// Whether the credentials were good the last time.
  mutating func contains(_ key: CredentialKey) -> Bool {
    if recent.contains(key) { return true }
    guard older.contains(key) else { return false }
    insert(key)
    return true
  }

  mutating func remove(_ key: CredentialKey) {
    recent.remove(key)
    older.remove(key)
  }
}
