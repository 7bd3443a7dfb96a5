/// The watchers of one watch: one in the long run, and more while some catch up with it.
final class WatchGroup {
  var watchers: [UpstreamWatcher] = []
  /// The one that others join.
  var main: UpstreamWatcher?
}

extension UpstreamWatcher {
  /// Whether it can take readers who have seen nothing yet.
  var isNew: Bool {
    if case .waiting = state { !wasCreated } else { false }
  }

  /// Whether etcd's answer to its creation is awaited.
  var isAwaited: Bool {
    if case .creating = state { true } else { false }
  }
}
