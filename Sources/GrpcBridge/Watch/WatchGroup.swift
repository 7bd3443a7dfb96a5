/// The watchers of one watch: one in the long run, and more while some catch up.
final class WatchGroup {
  var watchers: [UpstreamWatcher] = []
  /// The one that others join.
  var main: UpstreamWatcher?
}

extension UpstreamWatcher {
  /// Whether readers can join it that have seen nothing yet.
  var isNew: Bool {
    if case .waiting = state { !wasCreated } else { false }
  }

  /// Whether etcd's answer to its creation is awaited.
  var isAwaited: Bool {
    if case .creating = state { true } else { false }
  }
}
