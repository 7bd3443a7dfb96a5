import EtcdSchema
import Foundation
import TestSupport
import Testing

@testable import GrpcBridge

/// One client's request ends no other client's watches, though they share a gRPC stream.
@Suite struct WatchIsolationTests {
  private let etcd: SimulatedEtcd

  init() throws {
    etcd = try SimulatedEtcd()
    etcd.patience = 600_000
  }

  private static let tooLarge = GRPCStatus(
    .resourceExhausted, "grpc: received message larger than max", origin: .server)

  @Test(arguments: [
    tooLarge, GRPCStatus(.invalidArgument, "no", origin: .server), GRPCStatus(.unknown, "no", origin: .server),
    GRPCStatus(.outOfRange, "no", origin: .client),
  ])
  func whatEndsAStreamIsAskedForAlone(_ status: GRPCStatus) throws {
    let others = (0..<3).map { _ in WatchListener(etcd) }
    for (listener, key) in zip(others, ["a", "b", "c"]) { listener.create(key) }
    etcd.settle()
    etcd.put("a")
    let suspect = WatchListener(etcd)
    let innocent = WatchListener(etcd)
    suspect.create("poison")
    innocent.create("d")
    etcd.fail(etcd.streams[0], status)
    // Each of the two is created alone, and the others together, on a third stream.
    for _ in 0..<50 where etcd.streams.count < 3 { etcd.turn() }
    #expect(etcd.streams.map(\.requests.count).sorted() == [1, 1, 3])
    let own = try #require(
      etcd.streams.first { $0.requests.first?.createRequest.key == Data("poison".utf8) })
    etcd.fail(own, status)
    etcd.settle()
    #expect(suspect.status == status)
    etcd.put("a", "b", "c", "d")
    etcd.settle()
    #expect(others.map(\.revisions) == [[2, 3], [3], [3]])
    #expect(innocent.revisions == [3])
    #expect((others + [innocent]).allSatisfy { $0.status == nil && $0.created.count == 1 })
  }

  @Test func aClientWithOtherWatchesLosesOnlyTheOneThatIsRefused() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    listener.create("poison")
    for _ in 0..<2 {
      let stream = try #require(
        etcd.streams.first { $0.requests.contains { $0.createRequest.key == Data("poison".utf8) } })
      etcd.fail(stream, Self.tooLarge)
      for _ in 0..<50 where etcd.streams.count < 2 { etcd.turn() }
    }
    etcd.put("a")
    etcd.settle()
    let refusal = try #require(listener.responses.first { $0.canceled })
    #expect(refusal.created && refusal.watchID == -1 && refusal.header.revision == 1)
    #expect(
      refusal.cancelReason == "rpc error: code = ResourceExhausted desc = grpc: received message larger than max")
    #expect(listener.revisions == [2])
    #expect(listener.status == nil)
  }

  @Test func whatEtcdMayFindTooLargeHasAStreamOfItsOwn() throws {
    let small = WatchListener(etcd)
    small.create("a")
    let large = WatchListener(etcd)
    large.create(String(repeating: "k", count: WatchLine.maxShared))
    #expect(etcd.streams.count == 2)
    // It is as good as any other, if etcd accepts it.
    etcd.settle()
    #expect(large.created.count == 1)
    etcd.put(String(repeating: "k", count: WatchLine.maxShared))
    etcd.settle()
    #expect(large.revisions == [2] && small.revisions == [])
    // It is resumed, too, and ends alone.
    let stream = try #require(etcd.streams.first { $0.watchers.first?.key != "a" })
    etcd.fail(stream)
    for _ in 0..<200 where etcd.streams.count < 2 { etcd.turn() }
    let again = try #require(etcd.streams.first { $0.watchers.first?.key != "a" })
    #expect(again.requests.first?.createRequest.startRevision == 3)
    etcd.fail(again, Self.tooLarge)
    #expect(large.responses.last?.canceled == true && large.responses.last?.created == false)
    #expect(small.status == nil && etcd.streams.count == 1)
  }

  @Test func aLargeWatchThatNobodyWantsEndsItsStream() throws {
    let large = WatchListener(etcd)
    large.create(String(repeating: "k", count: WatchLine.maxShared))
    large.client.cancel()
    #expect(etcd.streams.isEmpty)
  }

  @Test func filtersAreSentOnceAndOnlyIfEtcdHasThem() throws {
    let listener = WatchListener(etcd)
    listener.send {
      $0.createRequest.key = Data("a".utf8)
      $0.createRequest.filters = [.nodelete, .UNRECOGNIZED(-1), .noput, .nodelete, .UNRECOGNIZED(7)]
    }
    #expect(etcd.streams[0].requests[0].createRequest.filters == [.noput, .nodelete])
  }

  @Test func onlySoManyCreationsAreAskedForAtOnce() throws {
    let listeners = (0..<300).map { _ in WatchListener(etcd) }
    for (index, listener) in listeners.enumerated() { listener.create("key \(index)") }
    #expect(etcd.streams[0].requests.count == WatchLine.maxCreating)
    // Watches of clients that leave before their turn are not created.
    for listener in listeners[280...] { listener.client.cancel() }
    etcd.settle()
    #expect(listeners[..<280].allSatisfy { $0.created.count == 1 })
    #expect(etcd.creations == 280)
  }

  @Test func aClientThatFloodsIsNotRead() throws {
    let listener = WatchListener(etcd)
    for index in 0..<64 { listener.create("key \(index)") }
    #expect(!listener.client.takesRequests)
    etcd.settle()
    #expect(listener.client.takesRequests)
  }

  @Test(arguments: [-1, Int64.min]) func aNegativeRevisionIsRefused(_ revision: Int64) throws {
    let listener = WatchListener(etcd)
    var request = Etcdserverpb_WatchRequest()
    request.createRequest.key = Data("a".utf8)
    request.createRequest.startRevision = revision
    let bytes: [UInt8] = try request.serializedBytes()
    let error = #expect(throws: GRPCStatus.self) { try bytes.withUnsafeBytes { try listener.client.receive($0) } }
    #expect(error?.code == .invalidArgument)
    // On a shared line it is refused alone.
    listener.create("a")
    etcd.settle()
    listener.create("b", from: revision)
    #expect(listener.responses.map(\.canceled) == [false, true])
    etcd.put("a")
    etcd.settle()
    #expect(listener.revisions == [2])
  }
}
