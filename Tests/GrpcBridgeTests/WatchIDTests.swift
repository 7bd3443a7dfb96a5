import Testing

@testable import GrpcBridge

/// The IDs of watches, which a client chooses or leaves to the gateway.
@Suite struct WatchIDTests {
  let etcd: SimulatedEtcd

  init() throws { etcd = try SimulatedEtcd() }

  @Test func idsMayComeInAnyOrder() throws {
    let listener = WatchListener(etcd)
    for id: Int64 in [1, 0, 0, -3, 0] { listener.create("a", id: id) }
    etcd.settle()
    #expect(listener.created.map(\.watchID) == [1, 0, 2, -3, 3])
    listener.send { $0.cancelRequest.watchID = 2 }
    #expect(listener.responses.last?.canceled == true && listener.responses.last?.watchID == 2)
    etcd.put("a")
    etcd.settle()
    #expect(Set(listener.responses.suffix(4).map(\.watchID)) == [1, 0, -3, 3])
    #expect(listener.revisions == [2, 2, 2, 2])
  }

  /// As at etcd, where the second creation comes after the cancellation.
  @Test func anIDIsFreeOnceItsWatchIsCancelled() throws {
    let listener = WatchListener(etcd)
    for _ in 0..<2 {
      listener.create("a", id: 7)
      listener.send { $0.cancelRequest.watchID = 7 }
    }
    etcd.settle()
    #expect(listener.responses.map(\.watchID) == [7, 7, 7, 7])
    #expect(listener.responses.map(\.canceled) == [false, true, false, true])
    #expect(!listener.client.hasWatches && listener.client.takesRequests)
  }

  @Test func anIDThatIsTakenIsRefused() throws {
    let listener = WatchListener(etcd)
    for _ in 0..<2 { listener.create("a", id: 7) }
    etcd.settle()
    #expect(listener.responses.map(\.watchID) == [7, -1])
    #expect(listener.responses.map(\.canceled) == [false, true])
    #expect(listener.responses.allSatisfy { $0.header.revision == 1 })
  }
}
