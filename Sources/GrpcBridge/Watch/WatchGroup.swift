internal import DequeModule

/// The watchers of one watch: one in the long run, and more while some catch up.
///
/// etcd creates one watcher at a time from each revision; further ones from there take turns. What happens to a watcher
/// costs the same however many others there are: clients choose the revisions, and may have thousands.
final class WatchGroup {
  /// The watchers that are to begin at one revision.
  private struct Turns {
    /// The one that etcd creates, or will be asked to.
    var first: UpstreamWatcher
    /// Those that wait until etcd has answered that. Some may have left the group since.
    var others: Deque<UpstreamWatcher> = []
  }

  private(set) var watchers: [UpstreamWatcher] = []
  /// The one that others join.
  var main: UpstreamWatcher?
  /// The watchers that wait for etcd, by the revisions at which they are to begin.
  private var turns: [Int64: Turns] = [:]

  func add(_ watcher: UpstreamWatcher) {
    watcher.group = self
    watcher.slot = watchers.count
    watchers.append(watcher)
  }

  /// Removes one of the group's watchers.
  ///
  /// - Returns: as ``endTurn(of:)``.
  func remove(_ watcher: UpstreamWatcher) -> UpstreamWatcher? {
    let last = watchers.removeLast()
    if last !== watcher {
      watchers[watcher.slot] = last
      last.slot = watcher.slot
    }
    watcher.group = nil
    if main === watcher { main = nil }
    // Watches that come and go while etcd is silent leave nothing.
    let revision = watcher.nextRevision
    if turns[revision]?.others.last === watcher { turns[revision]?.others.removeLast() }
    return endTurn(of: watcher)
  }

  /// Removes all watchers, and returns them.
  func removeAll() -> [UpstreamWatcher] {
    let all = watchers
    watchers = []
    main = nil
    turns = [:]
    for watcher in all { watcher.group = nil }
    return all
  }

  // MARK: - Turns

  /// The watcher from `revision` that etcd was not asked for yet: its answer will hold for further watches from there.
  func newcomer(from revision: Int64) -> UpstreamWatcher? {
    guard let turns = turns[revision] else { return nil }
    if turns.first.isNew { return turns.first }
    return turns.others.last.flatMap { $0.isNew ? $0 : nil }
  }

  /// Whether it is the turn of a watcher, which waits for that otherwise.
  func awaitTurn(_ watcher: UpstreamWatcher) -> Bool {
    let revision = watcher.nextRevision
    guard let first = turns[revision]?.first else {
      turns[revision] = Turns(first: watcher)
      return true
    }
    guard first !== watcher else { return true }
    watcher.isQueued = true
    turns[revision]?.others.append(watcher)
    return false
  }

  /// Ends the turn of a watcher, if it is its turn. To be called before the watcher moves on to another revision.
  ///
  /// - Returns: the watcher whose turn it is now, and which has yet to be requested; nil if there is no other one.
  func endTurn(of watcher: UpstreamWatcher) -> UpstreamWatcher? {
    let revision = watcher.nextRevision
    // Taken out, as the queue would be copied otherwise.
    guard turns[revision]?.first === watcher, var rest = turns.removeValue(forKey: revision) else { return nil }
    while let next = rest.others.popFirst() {
      guard next.group != nil else { continue }
      next.isQueued = false
      rest.first = next
      turns[revision] = rest
      return next
    }
    // An empty dictionary keeps its memory, which few groups need again.
    if turns.isEmpty { turns = [:] }
    return nil
  }
}

extension UpstreamWatcher {
  /// Whether readers can join it that have seen nothing yet.
  var isNew: Bool {
    if case .waiting = state { !wasCreated } else { false }
  }
}
