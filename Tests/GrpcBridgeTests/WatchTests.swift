import EtcdSchema
import EventLoop
import Foundation
import TestSupport
import Testing

@testable import GrpcBridge

/// Sharing, merging and resuming of watches, against an etcd whose every step the test decides.
@Suite struct WatchTests {
  let etcd: SimulatedEtcd

  init() throws { etcd = try SimulatedEtcd() }

  private var watchers: Int { etcd.watchers }

  @Test func identicalWatchesShareOneWatcherAndOneResponse() throws {
    let listeners = (0..<50).map { _ in WatchListener(etcd) }
    for listener in listeners { listener.create("a") }
    etcd.settle()
    #expect(watchers == 1)
    // The first is created alone; the others have waited for the next creation.
    #expect(etcd.creations == 2)
    #expect(listeners.allSatisfy { $0.created.map(\.header.revision) == [1] })
    etcd.put("a")
    etcd.settle()
    #expect(listeners.allSatisfy { $0.revisions == [2] })
    #expect(Set(listeners.map { $0.objects.last! }).count == 1)
  }

  @Test func differentWatchesAndUsersShareNothing() throws {
    let listeners = [
      WatchListener(etcd), WatchListener(etcd, credentials: .token(Token("t".utf8))), WatchListener(etcd),
      WatchListener(etcd),
    ]
    listeners[0].create("a")
    listeners[1].create("a")
    listeners[2].create("b")
    listeners[3].send {
      $0.createRequest.key = Data("a".utf8)
      $0.createRequest.prevKv = true
    }
    etcd.settle()
    #expect(etcd.streams.count == 2)
    #expect(watchers == 4)
  }

  @Test func aLaterWatchStartsExactlyAtItsOwnCreation() throws {
    let first = WatchListener(etcd)
    first.create("a")
    etcd.settle()
    // On its way to the first when the second is created.
    etcd.put("a")
    let second = WatchListener(etcd)
    second.create("a")
    let stream = etcd.streams[0]
    etcd.takeRequest(stream)
    etcd.put("a")
    etcd.sendAnswer(stream)
    etcd.settle()
    #expect(first.revisions == [2, 3])
    #expect(second.created.map(\.header.revision) == [2])
    #expect(second.revisions == [3])
    #expect(watchers == 1)
  }

  /// etcd 3.5.30 reads the revision that it answers with after the watch began.
  @Test func whatCameBeforeTheRevisionOfTheAnswerIsDropped() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    let stream = etcd.streams[0]
    etcd.takeRequest(stream)
    etcd.put("a")
    stream.answers[0].header = etcd.header
    etcd.put("a")
    etcd.settle()
    #expect(listener.created.map(\.header.revision) == [2])
    #expect(listener.revisions == [3])
  }

  @Test func aWatchThatIsBehindCatchesUpBeforeItJoins() throws {
    for _ in 0..<5 { etcd.put("a") }
    let now = WatchListener(etcd)
    now.create("a")
    etcd.settle()
    let late = WatchListener(etcd)
    late.create("a", from: 2)
    let stream = etcd.streams[0]
    etcd.takeRequest(stream)
    etcd.sendAnswer(stream)
    etcd.put("a")
    etcd.sendEvents(stream, watcher: 0)
    #expect(watchers == 2)
    etcd.sendEvents(stream, watcher: 1, atMost: 3)
    #expect(late.revisions == [2, 3, 4])
    etcd.settle()
    #expect(late.revisions == [2, 3, 4, 5, 6, 7])
    #expect(now.revisions == [7])
    #expect(watchers == 1)
    etcd.put("a")
    etcd.settle()
    #expect(late.revisions.last == 8 && now.revisions == [7, 8])
  }

  @Test func aBrokenStreamIsResumedAfterTheLastEvent() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    etcd.put("a")
    etcd.settle()
    etcd.put("a")
    etcd.fail(etcd.streams[0])
    etcd.put("a")
    etcd.turn()
    #expect(etcd.streams[0].requests.map(\.createRequest.startRevision) == [3])
    etcd.settle()
    #expect(listener.revisions == [2, 3, 4])
    #expect(listener.created.count == 1)
  }

  @Test func aWatchThatEtcdHasNotAnsweredBeginsAnew() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.takeRequest(etcd.streams[0])
    etcd.fail(etcd.streams[0])
    etcd.put("a")
    etcd.settle()
    #expect(listener.created.map(\.header.revision) == [2])
    #expect(listener.revisions == [])
  }

  @Test func compactionEndsAWatch() throws {
    for _ in 0..<5 { etcd.put("a") }
    etcd.compacted = 4
    let listener = WatchListener(etcd)
    listener.create("a", from: 2)
    etcd.settle()
    #expect(listener.responses.map(\.canceled) == [false, true])
    #expect(listener.responses.last?.compactRevision == 4)
    #expect(!listener.client.hasWatches)
    #expect(etcd.streams.isEmpty)
  }

  @Test func aFailureThatWillNotPassEndsAllWatches() throws {
    let listeners = [WatchListener(etcd), WatchListener(etcd)]
    for listener in listeners { listener.create("a") }
    etcd.fail(etcd.streams[0], GRPCStatus(.unauthenticated, "etcdserver: invalid auth token", origin: .server))
    #expect(listeners.allSatisfy { $0.status?.code == .unauthenticated })
  }

  @Test func aPausedClientMissesNothing() throws {
    let slow = WatchListener(etcd)
    let fast = WatchListener(etcd)
    for listener in [slow, fast] { listener.create("a") }
    etcd.settle()
    slow.onResponse = { [unowned slow] in slow.client.pause() }
    for _ in 0..<5 {
      etcd.put("a")
      etcd.settle()
    }
    #expect(slow.revisions == [2])
    #expect(fast.revisions == [2, 3, 4, 5, 6])
    for _ in 0..<10 {
      slow.client.resume()
      etcd.settle()
    }
    #expect(slow.revisions == [2, 3, 4, 5, 6])
    slow.onResponse = {}
    slow.client.resume()
    etcd.put("a")
    etcd.settle()
    #expect(slow.revisions == fast.revisions)
    #expect(watchers == 1)
  }

  @Test func twoWatchesOfOneClientThatPausesBetweenThemEachGetAll() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    listener.create("a")
    etcd.settle()
    #expect(listener.created.map(\.watchID) == [0, 1])
    listener.onResponse = { [unowned listener] in listener.client.pause() }
    etcd.put("a")
    etcd.settle()
    #expect(listener.revisions == [2])
    listener.client.resume()
    etcd.settle()
    #expect(listener.revisions == [2, 2])
    #expect(listener.responses.suffix(2).map(\.watchID).sorted() == [0, 1])
  }

  @Test func fragmentsAreJoinedOrPassedOnByWholeRevisions() throws {
    let joined = WatchListener(etcd)
    let parts = WatchListener(etcd)
    joined.create("a")
    parts.create("a", fragments: true)
    etcd.settle()
    etcd.put("a", "a")
    etcd.put("a", "a", "a")
    etcd.put("a")
    let stream = etcd.streams[0]
    for index in stream.watchers.indices { etcd.sendEvents(stream, watcher: index, inFragments: true) }
    let whole = joined.responses.dropFirst()
    #expect(whole.map { $0.events.map(\.kv.modRevision) } == [[2, 2, 3, 3, 3, 4]])
    #expect(whole.allSatisfy { !$0.fragment && $0.header.revision == 4 })
    let news = parts.responses.dropFirst()
    #expect(news.map { $0.events.map(\.kv.modRevision) } == [[2, 2], [3, 3, 3, 4]])
    #expect(news.map(\.fragment) == [true, false])
  }

  @Test func aLargeResponseIsPassedOnInPartsThatSayNoMoreThanTheyHave() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    let stream = etcd.streams[0]
    for revision in Int64(2)...8 {
      var fragment = Etcdserverpb_WatchResponse()
      fragment.header.revision = 8
      fragment.watchID = stream.watchers[0].id
      fragment.fragment = revision < 8
      fragment.events = [
        .with {
          $0.kv.modRevision = revision
          $0.kv.value = Data(count: 1 << 20)
        }
      ]
      etcd.send(fragment, on: stream)
    }
    let parts = listener.responses.dropFirst()
    #expect(parts.map { $0.events.map(\.kv.modRevision) } == [[2, 3, 4], [5, 6, 7, 8]])
    #expect(parts.map(\.header.revision) == [4, 8])
    #expect(parts.allSatisfy { !$0.fragment })
  }

  @Test func aWatchFromNowDoesNotShareTheFateOfOneThatIsBehind() throws {
    for _ in 0..<5 { etcd.put("a") }
    etcd.compacted = 4
    let listener = WatchListener(etcd)
    listener.create("a", from: 2)
    listener.create("a")
    etcd.settle()
    etcd.put("a")
    etcd.settle()
    #expect(listener.responses.filter(\.canceled).map(\.watchID) == [0])
    #expect(listener.revisions == [7])
  }

  @Test func aWatchCancelledBeforeItsCreationIsCreatedFirst() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    listener.send { $0.cancelRequest.watchID = 0 }
    etcd.settle()
    #expect(listener.responses.map(\.created) == [true, false])
    #expect(listener.responses.map(\.canceled) == [false, true])
    #expect(listener.responses.allSatisfy { $0.header.revision == 1 })
    #expect(!listener.client.hasWatches && etcd.streams.isEmpty)
  }

  @Test(arguments: [1, 2, Int64.max - 1, .max])
  func anyStartRevisionIsTaken(_ revision: Int64) throws {
    let listener = WatchListener(etcd)
    etcd.put("a")
    listener.create("a", from: revision)
    etcd.settle()
    etcd.put("a")
    etcd.settle()
    #expect(listener.created.count == 1)
    #expect(listener.revisions == (revision > 2 ? [] : [2, 3]))
    etcd.fail(etcd.streams[0])
    etcd.settle()
    #expect(listener.revisions == (revision > 2 ? [] : [2, 3]))
  }

  @Test func aClientWithTwoUnbornWatchesEndsOnce() throws {
    let first = WatchListener(etcd)
    first.create("a")
    var second: WatchListener? = WatchListener(etcd)
    second?.create("a")
    second?.create("a")
    second?.onEnd = { second = nil }
    for _ in 0..<400 where first.status == nil || second != nil {
      if let stream = etcd.streams.first { etcd.fail(stream) }
      etcd.turn()
    }
    #expect(first.status?.code == .unavailable)
    #expect(second == nil)
    #expect(etcd.streams.isEmpty)
  }

  @Test func aClientMayHaveOnlySoManyWatches() throws {
    let listener = WatchListener(etcd)
    for _ in 0..<100 { listener.create("a") }
    var request = Etcdserverpb_WatchRequest()
    request.createRequest.key = Data("a".utf8)
    let bytes: [UInt8] = try request.serializedBytes()
    #expect(throws: GRPCStatus.self) { try bytes.withUnsafeBytes { try listener.client.receive($0) } }
  }

  @Test func progressOfEtcdMovesNoWatchByAnswersThatAreNotFarApart() throws {
    etcd.progressInterval = 3_600_000
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    for _ in 0..<10 { etcd.put("b") }
    // Two answers at once prove no more than one: events may be on their way.
    for _ in 0..<2 {
      listener.send { $0.progressRequest = .init() }
      etcd.settle()
    }
    etcd.fail(etcd.streams[0])
    etcd.turn()
    #expect(etcd.streams[0].requests.map(\.createRequest.startRevision) == [2])
  }

  /// If it is quiet for long enough, a resumed watch continues from the revision that etcd has named.
  @Test func progressOfEtcdMovesQuietWatches() throws {
    etcd.progressInterval = 20
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    for _ in 0..<10 { etcd.put("b") }
    etcd.fail(etcd.streams[0])
    etcd.turn()
    for _ in 0..<60 { etcd.settle() }
    etcd.fail(etcd.streams[0])
    etcd.turn()
    #expect(etcd.streams[0].requests.map(\.createRequest.startRevision) == [12])
    etcd.put("a")
    etcd.settle()
    #expect(listener.revisions == [12])
  }

  /// Authentication was turned on while the client was not read.
  @Test func aWatchThatResumesWithoutCredentialsEnds() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    etcd.settle()
    listener.client.pause()
    etcd.put("a")
    etcd.settle()
    listener.client.resume()
    let stream = try #require(etcd.streams.first)
    let creation = try #require(stream.requests.last?.createRequest)
    stream.requests = []
    let refusal = Etcdserverpb_WatchResponse.with {
      $0.header = etcd.header
      $0.watchID = creation.watchID
      $0.created = true
      $0.canceled = true
      $0.cancelReason = "rpc error: code = InvalidArgument desc = \(EtcdMessage.userEmpty)"
    }
    etcd.send(refusal, on: stream)
    #expect(stream.requests.isEmpty && listener.status == nil)
    #expect(listener.responses.last?.canceled == true && listener.responses.last?.watchID == 0)
    #expect(!listener.client.hasWatches && etcd.streams.isEmpty)
  }

  @Test func aClientThatHasNoAnswersIsNotRead() throws {
    let listener = WatchListener(etcd)
    for _ in 0..<64 {
      #expect(listener.client.takesRequests)
      listener.create("a")
    }
    #expect(!listener.client.takesRequests)
    // Neither a cancellation nor a break is an answer.
    listener.send { $0.cancelRequest.watchID = 5 }
    etcd.fail(etcd.streams[0])
    etcd.turn()
    #expect(!listener.client.takesRequests)
    etcd.settle()
    #expect(listener.client.takesRequests)
    #expect(listener.created.count == 64)
  }

  @Test func aBreakWithinAFragmentedRevisionRepeatsNothing() throws {
    let listener = WatchListener(etcd)
    listener.create("a", fragments: true)
    etcd.settle()
    etcd.put("a", "a", "a")
    let stream = etcd.streams[0]
    var fragment = Etcdserverpb_WatchResponse()
    fragment.header = etcd.header
    fragment.watchID = stream.watchers[0].id
    fragment.fragment = true
    fragment.events = [.with { $0.kv.modRevision = 2 }]
    etcd.send(fragment, on: stream)
    #expect(listener.revisions == [])
    etcd.fail(stream)
    etcd.settle()
    #expect(listener.revisions == [2, 2, 2])
  }

  @Test func aRefusalIsCheckedBeforeItIsBelieved() throws {
    var hasher = CredentialHasher()
    _ = withUnsafeMutablePointer(to: &hasher) { $0 }
    let basic = BasicCredentials(user: "u", password: "p")
    let key = Array("u:p".utf8).withUnsafeBytes { hasher.key(for: $0) }
    let listener = WatchListener(etcd, credentials: .user(UserCredentials(key, from: KeptPassword(basic))))
    etcd.mayWatch = false
    listener.create("a")
    etcd.settle()
    #expect(listener.responses.isEmpty)
    // The token was stale: with another one the watch is created.
    let probe = try #require(etcd.probes.first)
    etcd.probes = []
    etcd.mayWatch = true
    probe.delegate.call(probe, endedWith: GRPCStatus(.outOfRange, origin: .server))
    etcd.settle()
    #expect(listener.created.count == 1)
    etcd.put("a")
    etcd.settle()
    #expect(listener.revisions == [2])

    // Now the permission is gone for good, which is noticed when the watch has to be created again.
    etcd.mayWatch = false
    etcd.fail(etcd.streams[0])
    etcd.settle()
    let second = try #require(etcd.probes.first)
    etcd.probes = []
    second.delegate.call(second, endedWith: GRPCStatus(.permissionDenied, origin: .server))
    #expect(listener.responses.last?.canceled == true)
    #expect(listener.responses.last?.created == false)
    #expect(listener.responses.last?.cancelReason == SimulatedEtcd.refusal)
    #expect(!listener.client.hasWatches)
  }

  @Test func aClientThatLeavesLeavesNothing() throws {
    var listeners = (0..<4).map { _ in WatchListener(etcd) }
    for listener in listeners { listener.create("a") }
    etcd.settle()
    listeners.removeFirst(3)
    etcd.settle()
    #expect(watchers == 1)
    listeners = []
    #expect(etcd.streams.isEmpty)
  }

  @Test func aCancelledWatchIsConfirmedAndTheOthersGoOn() throws {
    let listener = WatchListener(etcd)
    listener.create("a")
    listener.create("b")
    etcd.settle()
    listener.send { $0.cancelRequest.watchID = 0 }
    #expect(listener.responses.last?.canceled == true && listener.responses.last?.watchID == 0)
    etcd.put("a")
    etcd.put("b")
    etcd.settle()
    #expect(listener.revisions == [3])
    #expect(watchers == 1)
    listener.send { $0.createRequest.watchID = 1 }
    #expect(listener.responses.last?.canceled == true && listener.responses.last?.watchID == -1)
  }

  @Test func progressIsAnsweredToWhoAsked() throws {
    let asker = WatchListener(etcd)
    let other = WatchListener(etcd)
    for listener in [asker, other] { listener.create("a") }
    etcd.put("b")
    etcd.settle()
    asker.send { $0.progressRequest = .init() }
    etcd.settle()
    #expect(asker.responses.last?.watchID == -1 && asker.responses.last?.header.revision == 2)
    #expect(other.responses.count == 1)
  }

  /// In any order of things, each watch gets each event after its creation once, and in order.
  @Test(arguments: 0..<40) func nothingIsLostInAnyOrderOfThings(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    // However long a busy machine takes.
    etcd.patience = 600_000
    var listeners: [(listener: WatchListener, key: String, start: Int64)] = []
    for _ in 0..<600 {
      let stream = etcd.streams.randomElement(using: &random)
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<4: etcd.put(["a", "b"].randomElement(using: &random)!)
      case 4: etcd.put("a", "a", "b")
      case 5..<8: if let stream { etcd.takeRequest(stream) }
      case 8..<11: if let stream { etcd.sendAnswer(stream) }
      case 11..<15:
        guard let stream, let index = stream.watchers.indices.randomElement(using: &random) else { continue }
        etcd.sendEvents(
          stream, watcher: index, atMost: Int.random(in: 1...4, using: &random),
          inFragments: Bool.random(using: &random))
      case 15:
        if let stream, Int.random(in: 0..<3, using: &random) == 0 { etcd.fail(stream) }
        etcd.turn()
      case 16, 17:
        guard listeners.count < 12 else { continue }
        let listener = WatchListener(etcd)
        let key = ["a", "b"].randomElement(using: &random)!
        let start = Bool.random(using: &random) ? 0 : Int64.random(in: 1...etcd.revision + 2, using: &random)
        listener.create(key, from: start, fragments: key == "b")
        listeners.append((listener, key, start))
      case 18: listeners.randomElement(using: &random)?.listener.client.pause()
      default:
        listeners.randomElement(using: &random)?.listener.client.resume()
        if Int.random(in: 0..<10, using: &random) == 0, !listeners.isEmpty {
          listeners.remove(at: Int.random(in: 0..<listeners.count, using: &random))
        }
      }
    }
    for (listener, _, _) in listeners { listener.client.resume() }
    etcd.settle()
    etcd.put("a", "b")
    etcd.settle()
    for (listener, key, start) in listeners {
      #expect(listener.status == nil)
      try #require(listener.created.count == 1)
      let first = start == 0 ? listener.created[0].header.revision + 1 : start
      #expect(listener.revisions == etcd.events.filter { $0.key == key && $0.revision >= first }.map(\.revision))
    }
    // In the end each watch has one watcher.
    #expect(watchers == Set(listeners.map(\.key)).count)
  }
}
