import Testing

@testable import GrpcBridge

/// Watches of one key that begin at other revisions, or take turns at one.
@Suite struct WatchTurnTests {
  let etcd: SimulatedEtcd

  init() throws { etcd = try SimulatedEtcd() }

  /// The latest revision first, so that no watch can join another one.
  @Test(.timeLimit(.minutes(15))) func anAnswerConcernsOnlyWatchesOfItsRevision() throws {
    let listeners = (0..<40).map { _ in WatchListener(etcd) }
    var revision: Int64 = 1_000_000
    for listener in listeners {
      for _ in 0..<100 {
        listener.create("a", from: revision)
        revision -= 1
      }
    }
    etcd.settle()
    #expect(etcd.creations == 4000 && etcd.watchers == 4000)
    #expect(listeners.allSatisfy { $0.created.count == 100 })
    // Nor does a break, or the end of a client, make one watch wait for another.
    etcd.fail(etcd.streams[0])
    etcd.turn()
    etcd.settle()
    #expect(etcd.creations == 8000 && etcd.watchers == 4000)
    for listener in listeners { listener.client.cancel() }
    #expect(etcd.streams.isEmpty)
  }

  @Test func watchersFromOneRevisionAreCreatedAgainOneAfterAnother() throws {
    let late = WatchListener(etcd)
    late.create("a", from: 9)
    etcd.settle()
    // They cannot join that one, which would miss their first events.
    var listeners: [WatchListener] = []
    for _ in 0..<20 {
      listeners.append(WatchListener(etcd))
      listeners.last?.create("a", from: 5)
      etcd.settle()
    }
    #expect(etcd.creations == 21 && etcd.watchers == 21)
    etcd.fail(etcd.streams[0])
    etcd.turn()
    #expect(Set(etcd.streams[0].requests.map(\.createRequest.startRevision)) == [5, 9])
    #expect(etcd.streams[0].requests.count == 2)
    // The first one leaves while etcd creates its watcher, and two others while they wait.
    listeners.removeFirst()
    listeners.removeLast()
    listeners.remove(at: 5)
    etcd.settle()
    #expect(etcd.creations == 21 + 19)
    for _ in 0..<12 { etcd.put("a") }
    etcd.settle()
    #expect(late.revisions == [9, 10, 11, 12, 13])
    #expect(listeners.allSatisfy { $0.revisions == [5, 6, 7, 8, 9, 10, 11, 12, 13] })
    #expect(etcd.watchers == 1)
  }

  @Test func aWatchThatHasWaitedForOneThatIsRefusedIsCreated() throws {
    let key = String(repeating: "k", count: 600_000)
    let listeners = [WatchListener(etcd), WatchListener(etcd)]
    for listener in listeners { listener.create(key) }
    #expect(etcd.streams.count == 1)
    etcd.fail(etcd.streams[0], GRPCStatus(.resourceExhausted, "message larger than max", origin: .server))
    #expect(listeners[0].status?.code == .resourceExhausted && listeners[1].status == nil)
    etcd.settle()
    #expect(listeners.map(\.created.count) == [0, 1])
  }
}
