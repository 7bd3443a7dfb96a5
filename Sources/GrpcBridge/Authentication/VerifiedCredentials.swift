/// The users and passwords that etcd has accepted, by their keyed hash: they are accepted again while other clients
/// guess. Bounded: those that have not been used lately are dropped first.
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

  /// Whether etcd accepted the credentials the last time.
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
