import EtcdSchema
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// Batches that etcd refuses, or answers as etcd never does.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct FailedBatchTests {
  private static let rangePath = EtcdRPC.range.path
  private static let messages = (0..<4).map { BatchPeer.request("k\($0)") }

  /// What is changed in the answer to a batch.
  enum Damage: String, CaseIterable {
    case fewer, more, none, wrongKind, empty, noHeader, emptyHeader, noInnerHeader, laterHeader, noRevision
    case notSucceeded, unknownField, twoHeaders, twoInOne, cut, garbage, noMessage, compressed, tooLong
    case denied, compacted, internalError, unimplemented, reset, notGRPC

    func answer(to message: [UInt8]) -> ScriptedPeer.Answer {
      var response = BatchPeer.transaction(message)
      let whole = BatchPeer.wire(response)
      switch self {
      case .fewer: response.responses.removeLast()
      case .more: response.responses.append(response.responses[0])
      case .none: response.responses = []
      case .wrongKind: response.responses[1].responsePut = .init()
      case .empty: response.responses[1] = .init()
      case .noHeader: response.clearHeader()
      case .emptyHeader: response.header = .init()
      case .noInnerHeader: response.responses[2].responseRange.clearHeader()
      case .noRevision: response.responses[2].responseRange.header.revision = 0
      case .notSucceeded: response.succeeded = false
      case .laterHeader: return .message(whole + [0x1a, 7, 0x0a, 5, 0x20, 1, 0x0a, 1, 0x08])
      case .unknownField: return .message(whole + [0x20, 1])
      case .twoHeaders: return .message(whole + [0x0a, 2, 0x20, 1])
      case .twoInOne: return .message(whole + [0x1a, 4, 0x0a, 0, 0x0a, 0])
      case .cut: return .message(Array(whole.dropLast(3)))
      case .garbage: return .message((0..<300).map { UInt8(truncatingIfNeeded: $0 &* 37) })
      case .noMessage: return .messages([])
      case .compressed:
        return [.headers(.grpcResponse), .data(grpcFrame(whole, compressed: true)), .trailers(.grpcStatus(0))]
      case .tooLong: return [.headers(.grpcResponse), .data(grpcFrame(whole, claiming: .init(UInt32.max)))]
      case .denied: return .failure(7, "etcdserver: permission denied")
      case .compacted: return .failure(11, "etcdserver: mvcc: required revision has been compacted")
      case .internalError: return .failure(13, "no")
      case .unimplemented: return .failure(12, "unknown method Txn")
      case .reset: return [.headers(.grpcResponse), .data(grpcFrame(whole)), .reset(code: HTTP2Error.internalError)]
      case .notGRPC: return .http(status: 403)
      }
      return .message(BatchPeer.wire(response))
    }
  }

  /// Each read is then sent alone, and answered as it would have been.
  @Test(arguments: Damage.allCases)
  func aBatchIsTakenApart(_ damage: Damage) async throws {
    let script: ScriptedPeer.Script = {
      $0.path == BatchPeer.txn && $0.attempt == 2 ? damage.answer(to: $0.message) : BatchPeer.answer($0)
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      let before = fixture.peer.record.streams(of: Self.rangePath).count
      let calls = await fixture.startTogether(BatchPeer.range, Self.messages)
      try await fixture.expectAnswers(calls, Self.messages)
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).count == 2)
      #expect(fixture.peer.record.streams(of: Self.rangePath).count == before + 4)
      #expect(await fixture.run { $0.batchCounts.repeatedReads } == 4)
      // The connection and the next batch are not affected.
      let next = await fixture.startTogether(BatchPeer.range, Self.messages)
      try await fixture.expectAnswers(next, Self.messages)
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).count == 3)
      // One is the authenticator's, which it makes in its own time.
      let record = try await fixture.peer.wait(for: "two connections") { $0.connections.count >= 2 }
      #expect(record.connections.count == 2)
    }
  }

  /// A denied read does not affect the others.
  @Test func oneThatIsDeniedIsDeniedAlone() async throws {
    let denial = ScriptedPeer.Answer.failure(7, "etcdserver: permission denied")
    let script: ScriptedPeer.Script = { call in
      let isSecret = call.message.count > 3 && String(decoding: call.message, as: UTF8.self).hasSuffix("secret")
      let batch = call.path == BatchPeer.txn ? (try? Etcdserverpb_TxnRequest(serializedBytes: call.message)) : nil
      let hasSecret = batch?.success.contains { $0.requestRange.key.elementsEqual("secret".utf8) } == true
      return isSecret && call.path == Self.rangePath || hasSecret ? denial : BatchPeer.answer(call)
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      let messages = Self.messages + [BatchPeer.request("secret")]
      let calls = await fixture.startTogether(BatchPeer.range, messages)
      try await fixture.expectAnswers(Array(calls[..<4]), Self.messages)
      try await calls[4].expectEnd(.permissionDenied)
      // If a user's batches fail all the time, the user's reads go alone for a while; other users' do not.
      for _ in 0..<5 {
        for call in await fixture.startTogether(BatchPeer.range, messages) { _ = try await call.end() }
      }
      let count = fixture.peer.record.streams(of: BatchPeer.txn).count
      for call in await fixture.startTogether(BatchPeer.range, Self.messages) { try await call.expectEnd(.ok) }
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).count == count)
      for call in await fixture.startTogether(BatchPeer.range, Self.messages, for: .token("other")) {
        try await call.expectEnd(.ok)
      }
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).count == count + 1)
    }
  }

  /// etcd has `--max-txn-ops`, which only a refusal reveals.
  @Test func howManyOperationsEtcdTakesIsLearnt() async throws {
    let script: ScriptedPeer.Script = { call in
      let batch = call.path == BatchPeer.txn ? (try? Etcdserverpb_TxnRequest(serializedBytes: call.message)) : nil
      return batch.map { $0.success.count > 5 } == true
        ? .failure(3, "etcdserver: too many operations in txn request") : BatchPeer.answer(call)
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      let messages = (0..<20).map { BatchPeer.request("k\($0)") }
      for _ in 0..<4 {
        try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, messages), messages)
      }
      let sizes = fixture.peer.record.streams(of: BatchPeer.txn).dropFirst().compactMap {
        try? Etcdserverpb_TxnRequest(serializedBytes: $0.messages[0]).success.count
      }
      // 20 and 10 are refused; then 5 is the limit.
      #expect(sizes == [20, 10, 10, 5, 5, 5, 5, 5, 5, 5, 5] || sizes == [20, 10, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    }
  }

  // MARK: - Failures of a whole batch

  /// The rules for a call whose member is lost hold for each read of a batch.
  @Test func aBatchEndsTwoMembersAndNoThird() async throws {
    let peers = try (0..<3).map { _ in
      try ScriptedPeer { call in
        let isFatal = String(decoding: call.message, as: UTF8.self).hasSuffix("fatal")
        return isFatal && (call.path == Self.rangePath || call.path == BatchPeer.txn)
          ? [.close(abruptly: true)] : BatchPeer.answer(call)
      }
    }
    let fixture = try BridgeFixture(peers[0], others: Array(peers.dropFirst()), .batching())
    defer {
      fixture.stop()
      for peer in peers { peer.stop() }
    }
    func seen() -> Int {
      peers.reduce(0) { sum, peer in
        sum
          + (peer.record.streams(of: Self.rangePath) + peer.record.streams(of: BatchPeer.txn)).filter {
            String(decoding: $0.messages.first ?? [], as: UTF8.self).hasSuffix("fatal")
          }.count
      }
    }
    // Each member has given its version.
    _ = try await eventually("batches at each member") {
      try await fixture.warmUp()
      return peers.allSatisfy { !$0.record.streams(of: BatchPeer.txn).isEmpty } ? true : nil
    }
    let messages = [BatchPeer.request("a"), BatchPeer.request("fatal")]
    let calls = await fixture.startTogether(BatchPeer.range, messages)
    let status = try await calls[1].end()
    #expect(status.code == .unavailable && status.origin == .lost)
    #expect(seen() == 2)
  }

  /// A read may be sent elsewhere if its member was lost with it, in a batch or not.
  @Test func theReadsOfALostMemberAreAskedElsewhere() async throws {
    let isDeadly = Mutex(false)
    let script: ScriptedPeer.Script = { call in
      call.path == BatchPeer.txn
        && isDeadly.withLock({ isDeadly in
          defer { isDeadly = false }
          return isDeadly
        }) ? [.close(abruptly: true)] : BatchPeer.answer(call)
    }
    let peers = try (0..<2).map { _ in try ScriptedPeer(script: script) }
    let fixture = try BridgeFixture(peers[0], others: [peers[1]], .batching())
    defer {
      fixture.stop()
      for peer in peers { peer.stop() }
    }
    _ = try await eventually("batches at each member") {
      try await fixture.warmUp()
      return peers.allSatisfy { !$0.record.streams(of: BatchPeer.txn).isEmpty } ? true : nil
    }
    isDeadly.withLock { $0 = true }
    let calls = await fixture.startTogether(BatchPeer.range, Self.messages)
    try await fixture.expectAnswers(calls, Self.messages)
    #expect(isDeadly.withLock { !$0 })
  }

  @Test(
    arguments: [
      .refused, .failure(14, "etcdserver: leader changed"), [.goAway(lastStream: 0, code: 0), .close(abruptly: false)],
    ] as [ScriptedPeer.Answer])
  func whatEtcdCannotForNowIsAskedAgain(_ answer: ScriptedPeer.Answer) async throws {
    let script: ScriptedPeer.Script = {
      $0.path == BatchPeer.txn && $0.attempt == 2 ? answer : BatchPeer.answer($0)
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      let calls = await fixture.startTogether(BatchPeer.range, Self.messages)
      try await fixture.expectAnswers(calls, Self.messages)
      #expect(await fixture.run { $0.batchCounts.repeatedReads } == 0)
    }
  }

  /// One login is enough for all of them, and they share batches again.
  @Test func aStaleTokenIsRenewedForAll() async throws {
    let isStale = Mutex(false)
    let script: ScriptedPeer.Script = { call in
      let hasFirst = call.headers["token"] == "token.1"
      return call.path != BatchPeer.login && hasFirst && isStale.withLock { $0 }
        ? .failure(16, "etcdserver: invalid auth token") : BatchPeer.answer(call)
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      let ann = BridgeFixture.User.basic(BasicCredentials(user: "ann", password: "x"))
      try await fixture.warmUp(for: ann)
      isStale.withLock { $0 = true }
      let ranges = fixture.peer.record.streams(of: Self.rangePath).count
      let calls = await fixture.startTogether(BatchPeer.range, Self.messages, for: ann)
      try await fixture.expectAnswers(calls, Self.messages)
      #expect(fixture.peer.record.streams(of: BatchPeer.login).count == 2)
      #expect(fixture.peer.record.streams(of: Self.rangePath).count == ranges)
    }
  }

  // MARK: - Large values

  @Test func largeValuesDoNotTravelWithSmallOnes() async throws {
    let sizes = ["k1": 100_000, "k2": 20_000]
    let script: ScriptedPeer.Script = { call in
      func size(_ key: some Sequence<UInt8>) -> Int { sizes[String(decoding: Array(key), as: UTF8.self)] ?? 1 }
      if call.path == BatchPeer.txn {
        var response = BatchPeer.transaction(call.message)
        for index in response.responses.indices {
          let key = response.responses[index].responseRange.kvs[0].key
          response.responses[index].responseRange.kvs[0].value = .init(repeating: 120, count: size(key))
        }
        return .message(BatchPeer.wire(response))
      }
      guard call.path == Self.rangePath, let request = try? Etcdserverpb_RangeRequest(serializedBytes: call.message)
      else { return BatchPeer.answer(call) }
      return .message(BatchPeer.wire(BatchPeer.response(to: request, valueBytes: size(request.key))))
    }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      for round in 0..<3 {
        let calls = await fixture.startTogether(BatchPeer.range, Self.messages)
        for (number, call) in calls.enumerated() {
          try await call.expectEnd(.ok)
          let expected = BatchPeer.expected(Self.messages[number], valueBytes: sizes["k\(number)"] ?? 1)
          #expect(call.messages == [expected], "\(round) \(number)")
        }
      }
      let batches = fixture.peer.record.streams(of: BatchPeer.txn).dropFirst().compactMap {
        try? Etcdserverpb_TxnRequest(serializedBytes: $0.messages[0]).success.map { Array($0.requestRange.key) }
      }
      let small = ["k0", "k3"].map { Array($0.utf8) }
      #expect(batches == [(0..<4).map { Array("k\($0)".utf8) }, small, small])
    }
  }

  /// The answer to a batch has a limit, beyond which it is not awaited.
  @Test func anAnswerThatIsTooLargeIsNotRead() async throws {
    let size = 600_000
    let isLarge = Mutex(false)
    let script: ScriptedPeer.Script = { BatchPeer.answer($0, valueBytes: isLarge.withLock { $0 } ? size : 1) }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      try await fixture.warmUp()
      isLarge.withLock { $0 = true }
      let calls = await fixture.startTogether(BatchPeer.range, Self.messages)
      try await fixture.expectAnswers(calls, Self.messages, valueBytes: size)
      let batch = try #require(fixture.peer.record.streams(of: BatchPeer.txn).last)
      #expect(batch.reset != nil && batch.bytesSent < 4 * size)
      // All of them are known to be large now.
      let count = fixture.peer.record.streams(of: BatchPeer.txn).count
      let again = await fixture.startTogether(BatchPeer.range, Self.messages)
      try await fixture.expectAnswers(again, Self.messages, valueBytes: size)
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).count == count)
    }
  }

  // MARK: - Members that do not survive it

  @Test(arguments: [
    ("3.5.0", false), ("3.5.4", false), ("3.5.6", false), ("3.5.7", true), ("3.5.30", true), ("3.4.22", false),
    ("3.4.23", true), ("3.3.27", false), ("3.6.0", true), ("3.6.0-alpha.0", true), ("3.10.1", true), ("4.0.0", true),
    ("", false),
    ("3.5", false), ("3..7", false), ("x.y.z", false), ("99999999999999999999.1.1", false), ("2.9.9", false),
    ("3.5.4-p1", false),
  ])
  func onlyMembersThatSurviveACancellationGetTransactions(_ version: String, survives: Bool) throws {
    let response = BatchPeer.wire(
      Etcdserverpb_StatusResponse.with {
        $0.header.memberID = 7
        $0.version = version
        $0.dbSize = 5
      })
    #expect(response.withUnsafeBytes { TransactionProbe.survivesCancellation($0) } == survives)
  }

  @Test(
    arguments: [
      (.failure(3, "etcdserver: user name is empty"), true), (.failure(7, "etcdserver: permission denied"), true),
      (.failure(7, "RBAC: access denied"), false), (.failure(12, "unknown service"), false),
      (.http(status: 403), false),
      (.message([0xff]), false), (.message([]), false),
      (.message(BatchPeer.wire(Etcdserverpb_StatusResponse.with { $0.version = "3.5.1" })), false),
    ] as [(ScriptedPeer.Answer, Bool)])
  func aMemberThatDoesNotSayItsVersionGetsNone(_ answer: ScriptedPeer.Answer, takes: Bool) async throws {
    let script: ScriptedPeer.Script = { $0.path == BatchPeer.status ? answer : BatchPeer.answer($0) }
    try await withBridge(.init(), .batching(), script: script) { fixture in
      func read() async throws {
        try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, Self.messages), Self.messages)
      }
      _ = try await eventually("the question") {
        try await read()
        return fixture.peer.record.streams(of: BatchPeer.status).isEmpty ? nil : true
      }
      // The answer to a later call has come after that one.
      try await read()
      try await read()
      #expect(fixture.peer.record.streams(of: BatchPeer.txn).isEmpty != takes)
      #expect(fixture.peer.record.streams(of: BatchPeer.status).count == 1)
      // Equal reads share an answer even so.
      let ranges = fixture.peer.record.streams(of: Self.rangePath).count
      let same = Array(repeating: Self.messages[0], count: 3) + [Self.messages[1]]
      try await fixture.expectAnswers(await fixture.startTogether(BatchPeer.range, same), same)
      #expect(fixture.peer.record.streams(of: Self.rangePath).count == ranges + (takes ? 0 : 2))
    }
  }
}
