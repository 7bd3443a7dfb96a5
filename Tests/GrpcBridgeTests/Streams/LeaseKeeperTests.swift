import EtcdSchema
import EventLoop
import Synchronization
import SwiftProtobuf
import TestSupport
import Testing

@testable import GrpcBridge

/// Keepalives of many clients over one stream.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct LeaseKeeperTests {
  private static let path = EtcdRPC.leaseKeepAlive.path

  private static func response(_ lease: Int64, ttl: Int64 = 60) -> [UInt8] {
    let response = Etcdserverpb_LeaseKeepAliveResponse.with {
      $0.id = lease
      $0.ttl = ttl
    }
    return (try? response.serializedBytes()) ?? []
  }

  private static func request(_ lease: Int64) -> [UInt8] {
    (try? Etcdserverpb_LeaseKeepAliveRequest.with { $0.id = lease }.serializedBytes()) ?? []
  }

  /// The steps of a stream that stays open.
  private static func answers(_ leases: Int64...) -> [ScriptedPeer.Step] {
    [.headers(.grpcResponse), .data(leases.flatMap { grpcFrame(response($0)) })]
  }

  @Test func clientsShareAStreamAndAWrite() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { _ in
      .init([.wait(gate)] + Self.answers(3, 1, 2))
    } body: { fixture in
      let answers = await fixture.keepAlive([1, 2, 3, 2])
      let record = try await fixture.peer.wait(for: "three requests") { $0.streams.first?.messages.count == 3 }
      #expect(Set(record.streams[0].messages) == Set([1, 2, 3].map { Self.request($0) }))
      #expect(record.streams[0].headers["hasleader"] == "true")
      gate.open()
      // Two clients renew the same lease: one request has served both.
      for (answer, lease) in zip(answers, [1, 2, 3, 2] as [Int64]) {
        let result = try await answer.result()
        #expect(result == .success(Self.response(lease)))
      }
      #expect(fixture.peer.record.streams.count == 1)
    }
  }

  @Test func whoeverAsksWhileALeaseIsAskedForSharesTheNextRequest() async throws {
    let first = ScriptedPeer.Gate()
    let second = ScriptedPeer.Gate()
    try await withBridge { _ in
      [
        .wait(first), .headers(.grpcResponse), .data(grpcFrame(Self.response(1, ttl: 11))), .wait(second),
        .data(grpcFrame(Self.response(1, ttl: 22))),
      ]
    } body: { fixture in
      let early = await fixture.keepAlive([1])
      try await fixture.peer.wait(for: "a request") { $0.streams.first?.messages.count == 1 }
      var late: [LeaseAnswer] = []
      for _ in 0..<3 { late += await fixture.keepAlive([1]) }
      // Whatever had been sent for them would have come before this.
      _ = await fixture.keepAlive([2])
      try await fixture.peer.wait(for: "the other lease") {
        $0.streams[0].messages == [Self.request(1), Self.request(2)]
      }
      first.open()
      let earlyResult = try await early[0].result()
      #expect(earlyResult == .success(Self.response(1, ttl: 11)))
      try await fixture.peer.wait(for: "the next request") { $0.streams[0].messages.count == 3 }
      #expect(late.allSatisfy { $0.current == nil })
      second.open()
      for answer in late {
        let result = try await answer.result()
        #expect(result == .success(Self.response(1, ttl: 22)))
      }
      #expect(fixture.peer.record.streams[0].messages.count == 3)
    }
  }

  @Test func whoeverAsksWhileABrokenStreamOwesIsAskedForWithTheOthers() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { call in
      call.attempt == 1 ? [.wait(gate), .close(abruptly: true)] : .init(Self.answers(1))
    } body: { fixture in
      let early = await fixture.keepAlive([1])
      try await fixture.peer.wait(for: "a request") { $0.streams.first?.messages.count == 1 }
      let late = await fixture.keepAlive([1])
      gate.open()
      for answer in early + late {
        let result = try await answer.result()
        #expect(result == .success(Self.response(1)))
      }
      #expect(fixture.peer.record.streams(of: Self.path).map(\.messages) == [[Self.request(1)], [Self.request(1)]])
    }
  }

  @Test(arguments: [
    [ScriptedPeer.Step.close(abruptly: true)], [.trailers(.grpcStatus(14, "etcdserver: no leader"))],
    [.trailers(.grpcStatus(13, "broken"))], [.trailers(.grpcStatus(0))], [.reset(code: HTTP2Error.internalError)],
  ])
  func whatABrokenStreamOwesIsAskedAgain(steps: [ScriptedPeer.Step]) async throws {
    let all = ScriptedPeer.Gate()
    try await withBridge { call in
      call.attempt == 1 ? .init(Self.answers(1) + [.wait(all)] + steps) : .init(Self.answers(2))
    } body: { fixture in
      let first = await fixture.keepAlive([1])
      _ = try await first[0].result()
      let second = await fixture.keepAlive([2])
      try await fixture.peer.wait(for: "the second request") { $0.streams.first?.messages.count == 2 }
      all.open()
      let result = try await second[0].result()
      #expect(result == .success(Self.response(2)))
      let streams = fixture.peer.record.streams(of: Self.path)
      #expect(streams.map(\.messages) == [[Self.request(1), Self.request(2)], [Self.request(2)]])
    }
  }

  @Test func anErrorOfEtcdEndsWhatItOwesAndNoMore() async throws {
    try await withBridge { call in
      call.attempt == 1
        ? .failure(7, "etcdserver: permission denied") : .init(Self.answers(2))
    } body: { fixture in
      for answer in await fixture.keepAlive([1, 3]) {
        let result = try await answer.result()
        #expect(result == .failure(GRPCStatus(.permissionDenied, "etcdserver: permission denied", origin: .server)))
      }
      let next = try await fixture.keepAlive([2])[0].result()
      #expect(next == .success(Self.response(2)))
      #expect(fixture.peer.record.streams(of: Self.path).count == 2)
    }
  }

  @Test func anErrorForTheSakeOfOneRequestEndsThatAlone() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { call in
      switch call.attempt {
      case 1: .init(Self.answers(1) + [.wait(gate), .trailers(.grpcStatus(2, "lease: unknown error"))])
      default: .init(Self.answers(3, 4))
      }
    } body: { fixture in
      _ = try await fixture.keepAlive([1])[0].result()
      // etcd answers one by one: the first unanswered request has ended the stream.
      let bad = await fixture.keepAlive([2])
      try await fixture.peer.wait(for: "the bad request") { $0.streams.first?.messages.count == 2 }
      let good = await fixture.keepAlive([3, 4])
      try await fixture.peer.wait(for: "the others") { $0.streams.first?.messages.count == 4 }
      gate.open()
      let refusal = try await bad[0].result()
      #expect(refusal == .failure(GRPCStatus(.unknown, "lease: unknown error", origin: .server)))
      for (answer, lease) in zip(good, [3, 4] as [Int64]) {
        let result = try await answer.result()
        #expect(result == .success(Self.response(lease)))
      }
    }
  }

  @Test func anErrorThatComesAtOnceAndAgainEndsAll() async throws {
    try await withBridge { _ in
      .failure(9, "not an etcd")
    } body: { fixture in
      for answer in await fixture.keepAlive([1, 2, 3]) {
        let result = try await answer.result()
        #expect(result == .failure(GRPCStatus(.failedPrecondition, "not an etcd", origin: .server)))
      }
      #expect(fixture.peer.record.streams(of: Self.path).count == 2)
    }
  }

  @Test func aDeadlineEndsAWishAndNotTheStream() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { _ in
      .init([.wait(gate)] + Self.answers(1, 2))
    } body: { fixture in
      let impatient = await fixture.keepAlive([1], timeout: 30)
      let patient = await fixture.keepAlive([2])
      let result = try await impatient[0].result()
      #expect(result == .failure(GRPCStatus(.deadlineExceeded, "etcd did not answer within 30 ms")))
      #expect(patient[0].current == nil)
      gate.open()
      let other = try await patient[0].result()
      #expect(other == .success(Self.response(2)))
      #expect(fixture.peer.record.streams(of: Self.path).count == 1)
      #expect(impatient[0].count == 1)
    }
  }

  @Test func theDeadlineTellsWhatFailedBefore() async throws {
    try await withBridge { _ in
      .failure(14, "etcdserver: no leader")
    } body: { fixture in
      let result = try await fixture.keepAlive([1], timeout: 2000)[0].result()
      let text = "etcd did not answer within 2000 ms; what failed before: etcdserver: no leader"
      #expect(result == .failure(GRPCStatus(.deadlineExceeded, text)))
      #expect(fixture.peer.record.streams(of: Self.path).count > 1)
    }
  }

  @Test func aCancelledWishIsNotAskedAgain() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { call in
      call.attempt == 1 ? [.wait(gate), .close(abruptly: true)] : .init(Self.answers(2))
    } body: { fixture in
      let answers = await fixture.keepAlive([1, 2])
      try await fixture.peer.wait(for: "both requests") { $0.streams.first?.messages.count == 2 }
      await fixture.run { _ in answers[0].keepAlive?.value.cancel() }
      gate.open()
      let result = try await answers[1].result()
      #expect(result == .success(Self.response(2)))
      #expect(fixture.peer.record.streams(of: Self.path).map(\.messages).last == [Self.request(2)])
      #expect(answers[0].count == 0)
    }
  }

  @Test func anIdleStreamIsEndedProperlyAndTheNextOneServes() async throws {
    var configuration = Bridge.Configuration()
    configuration.leaseStreamIdle = 30
    try await withBridge(.init(), configuration) { _ in
      .init(Self.answers(1))
    } body: { fixture in
      _ = try await fixture.keepAlive([1])[0].result()
      let record = try await fixture.peer.wait(for: "the end of the requests") { $0.streams.first?.halfClosed == true }
      #expect(record.streams[0].reset == nil)
      // The peer leaves the old stream open: another one serves later requests.
      let result = try await fixture.keepAlive([1])[0].result()
      #expect(result == .success(Self.response(1)))
      #expect(fixture.peer.record.streams(of: Self.path).count == 2)
    }
  }

  /// Where etcd checks no token, a stranger has a stream for each that it invents.
  @Test func fewStreamsStayOpenThatNobodyWaitsFor() async throws {
    try await withBridge { _ in
      .init(Self.answers(1))
    } body: { fixture in
      let most = LeaseKeeper.maxUnused
      for number in 0..<3 * most {
        let result = try await fixture.keepAlive([1], credentials: .token(Token("\(number)".utf8)))[0].result()
        #expect(result == .success(Self.response(1)))
        let count = await fixture.run { $0.leases.streamCount }
        #expect(count <= 2 * most)
      }
      // The peer ends none by itself: the older half of those that get no more requests are reset.
      try await fixture.peer.wait(for: "the end of the streams that were not used lately") { record in
        let streams = record.streams(of: Self.path)
        return streams.map(\.halfClosed) == (0..<3 * most).map { $0 < 2 * most }
          && streams.map { $0.reset != nil } == (0..<3 * most).map { $0 < most }
      }
    }
  }

  @Test func aStreamThatIsUsedAgainIsNotTheFirstToEnd() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { call in
      call.attempt == 1
        ? .init(Self.answers(1) + [.wait(gate), .data(grpcFrame(Self.response(1)))]) : .init(Self.answers(1))
    } body: { fixture in
      let most = LeaseKeeper.maxUnused
      for number in 0..<most {
        _ = try await fixture.keepAlive([1], credentials: .token(Token("\(number)".utf8)))[0].result()
      }
      let again = await fixture.keepAlive([1], credentials: .token(Token("0".utf8)))
      try await fixture.peer.wait(for: "another request") { $0.streams.first?.messages.count == 2 }
      gate.open()
      _ = try await again[0].result()
      _ = try await fixture.keepAlive([1], credentials: .token(Token("more".utf8)))[0].result()
      try await fixture.peer.wait(for: "the end of a stream") { record in
        record.streams.map(\.halfClosed) == (0...most).map { $0 == 1 }
      }
    }
  }

  /// Whoever disconnects leaves a stream on which etcd owes an answer.
  @Test func fewStreamsStayOpenWhoseClientsHaveLeft() async throws {
    try await withBridge { _ in
      .hang
    } body: { fixture in
      let most = LeaseKeeper.maxUnused
      for number in 0..<2 * most {
        let answers = await fixture.keepAlive([1], credentials: .token(Token("\(number)".utf8)))
        try await fixture.peer.wait(for: "a request") { $0.streams.count == number + 1 }
        let count = await fixture.run { bridge in
          answers[0].keepAlive?.value.cancel()
          return bridge.leases.streamCount
        }
        #expect(count <= most)
      }
      try await fixture.peer.wait(for: "the end of the oldest") { record in
        record.streams.prefix(most).allSatisfy { $0.reset != nil }
      }
    }
  }

  @Test func anAnswerMayBeFollowedByAQuestionAtOnce() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge { _ in
      .init(Self.answers(1) + [.wait(gate), .data(grpcFrame(Self.response(2)))])
    } body: { fixture in
      let answers = await fixture.keepAlive([1]) { lease in lease == 1 ? 2 : nil }
      try await fixture.peer.wait(for: "the next request") { $0.streams.first?.messages.count == 2 }
      gate.open()
      let result = try await answers[0].result(2)
      #expect(result == .success(Self.response(2)))
    }
  }

  @Test func usersHaveStreamsOfTheirOwn() async throws {
    try await withBridge { call in
      guard call.path == Self.path else { return .hang }
      return .init(Self.answers(1))
    } body: { fixture in
      let mine = await fixture.keepAlive([1], credentials: .token(Token("mine".utf8)))
      _ = try await mine[0].result()
      let yours = await fixture.keepAlive([1], credentials: .token(Token("yours".utf8)))
      _ = try await yours[0].result()
      #expect(fixture.peer.record.streams(of: Self.path).map { $0.headers["token"] } == ["mine", "yours"])
    }
  }

  @Test func theEndOfTheBridgeEndsAll() async throws {
    try await withBridge { _ in
      .hang
    } body: { fixture in
      let answers = await fixture.keepAlive([1])
      try await fixture.peer.wait(for: "a request") { $0.streams.first?.messages.count == 1 }
      await fixture.run { $0.close() }
      for answer in answers + (await fixture.keepAlive([2])) {
        guard case .failure(let status) = try await answer.result() else {
          Issue.record("an answer of nobody")
          continue
        }
        #expect(status.code == .unavailable)
      }
    }
  }
}

/// The answers to one client's requests.
final class LeaseAnswer: Sendable {
  private struct State {
    var keepAlive: LoopBound<KeepAliveRequest>?
    var results: [Result<[UInt8], GRPCStatus>] = []
  }

  private let state = Mutex(State())

  var keepAlive: LoopBound<KeepAliveRequest>? {
    get { state.withLock { $0.keepAlive } }
    set { state.withLock { $0.keepAlive = newValue } }
  }

  var count: Int { state.withLock { $0.results.count } }
  var current: Result<[UInt8], GRPCStatus>? { state.withLock { $0.results.last } }

  func add(_ result: Result<[UInt8], GRPCStatus>) { state.withLock { $0.results.append(result) } }

  /// Waits for the n-th answer.
  func result(_ number: Int = 1) async throws -> Result<[UInt8], GRPCStatus> {
    try await eventually("answer") { count >= number ? current : nil }
  }
}

extension BridgeFixture {
  /// Renews these leases in one turn of the loop, each for a client of its own.
  ///
  /// - Parameters:
  ///   - credentials: none, or a token.
  ///   - user: a user to be logged in, in place of `credentials`.
  ///   - next: a lease that the client renews when it has got an answer.
  func keepAlive(
    _ leases: [Int64], credentials: CallCredentials = .none, user: BasicCredentials? = nil, timeout: UInt64 = 20_000,
    next: @escaping @Sendable (Int64) -> Int64? = { _ in nil }
  ) async -> [LeaseAnswer] {
    let token: Token? = if case .token(let token) = credentials { token } else { nil }
    return await run { [self] bridge in
      var credentials = CallCredentials.none
      if let token { credentials = .token(token) }
      if let user { credentials = .user(bridge.keep(user)) }
      let caller = Caller(credentials, peer: .itself)
      return leases.map { lease in
        let answer = LeaseAnswer()
        ask(bridge, lease, answer, caller, timeout, next)
        return answer
      }
    }
  }

  private func ask(
    _ bridge: Bridge, _ lease: Int64, _ answer: LeaseAnswer, _ caller: Caller, _ timeout: UInt64,
    _ next: @escaping @Sendable (Int64) -> Int64?
  ) {
    let keepAlive = bridge.leases.keepAlive(lease, for: caller, timeout: timeout) {
      [unowned self, unowned bridge] result in
      answer.add(result)
      if let following = next(lease) { ask(bridge, following, answer, caller, timeout, next) }
    }
    answer.keepAlive = bind(keepAlive)
  }
}
