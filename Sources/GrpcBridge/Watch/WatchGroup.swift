/// The feeds of one watch: one in the long run, and more while some catch up with it.
final class WatchGroup {
  var feeds: [WatchFeed] = []
  /// The one that others join.
  var main: WatchFeed?
}

extension WatchFeed {
  /// Whether it can take readers who have seen nothing yet.
  var isNew: Bool {
    if case .waiting = state { !wasCreated } else { false }
  }

  /// Whether etcd's answer to its creation is awaited.
  var isAwaited: Bool {
    if case .creating = state { true } else { false }
  }
}
