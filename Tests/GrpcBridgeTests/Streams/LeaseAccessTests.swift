import EtcdSchema
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

@testable import GrpcBridge

/// Whose keepalives reach an etcd that would renew leases for anybody, as releases before 3.5.28 and 3.6.9 do.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct LeaseAccessTests {
  private static let path = EtcdRPC.leaseKeepAlive.path
  private static let invalidToken = GRPCStatus(.unauthenticated, EtcdMessage.invalidAuthToken, origin: .server)

  private static let renewal: [UInt8] = {
    let response = Etcdserverpb_LeaseKeepAliveResponse.with {
      $0.id = 1
      $0.ttl = 60
    }
    return (try? response.serializedBytes()) ?? []
  }()

  /// Answers one keepalive of each stream, whatever its token.
  private final class OldEtcd: Sendable {
    /// The tokens that it knows; nil while authentication is off.
    private let tokens: Mutex<Set<String>?>
    private let endsStreams: Bool

    init(knowing tokens: Set<String>?, endsStreams: Bool) {
      self.tokens = Mutex(tokens)
      self.endsStreams = endsStreams
    }

    func know(_ tokens: Set<String>?) { self.tokens.withLock { $0 = tokens } }

    func answer(to call: ScriptedPeer.Call) -> ScriptedPeer.Answer {
      switch call.path {
      case LeaseAccessTests.path: renewal
      case EtcdRPC.range.path: opinion(of: call.headers["token"])
      case EtcdRPC.authenticate.path: logIn(call)
      default: .message([])
      }
    }

    private var renewal: ScriptedPeer.Answer {
      var steps: [ScriptedPeer.Step] = [.headers(.grpcResponse), .data(grpcFrame(LeaseAccessTests.renewal))]
      if endsStreams { steps.append(.trailers(.grpcStatus(0))) }
      return .init(steps)
    }

    /// The answer to a question about the caller.
    private func opinion(of token: String?) -> ScriptedPeer.Answer {
      let known = tokens.withLock { $0 }
      guard let known else { return .failure(GRPCCode.outOfRange.rawValue, "a future revision") }
      guard let token else { return .failure(GRPCCode.invalidArgument.rawValue, EtcdMessage.userEmpty) }
      return known.contains(token)
        ? .failure(GRPCCode.permissionDenied.rawValue, EtcdMessage.permissionDenied)
        : .failure(GRPCCode.unauthenticated.rawValue, EtcdMessage.invalidAuthToken)
    }

    private func logIn(_ call: ScriptedPeer.Call) -> ScriptedPeer.Answer {
      guard tokens.withLock({ $0 }) != nil else {
        return .failure(GRPCCode.failedPrecondition.rawValue, EtcdMessage.authNotEnabled)
      }
      let answer = Etcdserverpb_AuthenticateResponse.with { $0.token = "issued.\(call.attempt)" }
      return .message((try? answer.serializedBytes()) ?? [])
    }
  }

  /// Runs `body` before an etcd that knows these tokens; nil if authentication is off.
  ///
  /// - Parameter endsStreams: whether it ends each stream after the answer.
  private static func withEtcd(
    knowing tokens: Set<String>?, endsStreams: Bool = false, body: (BridgeFixture, OldEtcd) async throws -> Void
  ) async throws {
    let etcd = OldEtcd(knowing: tokens, endsStreams: endsStreams)
    try await withBridge(.init(), Bridge.Configuration(keepalivesNeedUsers: true)) { call in
      etcd.answer(to: call)
    } body: { fixture in
      try await body(fixture, etcd)
    }
  }

  /// The tokens of the questions that have come to etcd.
  private static func questions(_ fixture: BridgeFixture) -> [String?] {
    fixture.peer.record.streams(of: EtcdRPC.range.path).map { $0.headers["token"] }
  }

  /// The tokens of the streams of keepalives that have come to etcd.
  private static func streams(_ fixture: BridgeFixture) -> [String?] {
    fixture.peer.record.streams(of: path).map { $0.headers["token"] }
  }

  @Test func aTokenIsProvenFirst() async throws {
    try await Self.withEtcd(knowing: ["good"]) { fixture, _ in
      let refused = try await fixture.keepAlive([1], credentials: .token(Token("invented".utf8)))[0].result()
      #expect(refused == .failure(Self.invalidToken))
      let renewed = try await fixture.keepAlive([1], credentials: .token(Token("good".utf8)))[0].result()
      #expect(renewed == .success(Self.renewal))
      #expect(Self.streams(fixture) == ["good"])
      #expect(Self.questions(fixture) == [nil, "invented", nil, "good"])
    }
  }

  @Test func withoutATokenNobodyRenews() async throws {
    try await Self.withEtcd(knowing: ["good"]) { fixture, _ in
      let refused = try await fixture.keepAlive([1])[0].result()
      #expect(refused == .failure(GRPCStatus(.invalidArgument, EtcdMessage.userEmpty, origin: .server)))
      #expect(Self.streams(fixture).isEmpty)
    }
  }

  @Test func aUserWhoWasLoggedInIsNotAskedAbout() async throws {
    try await Self.withEtcd(knowing: []) { fixture, _ in
      let ann = BasicCredentials(user: "ann", password: "secret")
      let renewed = try await fixture.keepAlive([1], user: ann)[0].result()
      #expect(renewed == .success(Self.renewal))
      #expect(Self.streams(fixture) == ["issued.1"])
      #expect(Self.questions(fixture).isEmpty)
    }
  }

  @Test func anotherStreamNeedsAnotherProof() async throws {
    try await Self.withEtcd(knowing: ["good"], endsStreams: true) { fixture, etcd in
      let renewed = try await fixture.keepAlive([1], credentials: .token(Token("good".utf8)))[0].result()
      #expect(renewed == .success(Self.renewal))
      try await Self.changeUsers(fixture)
      etcd.know([])
      let refused = try await fixture.keepAlive([1], credentials: .token(Token("good".utf8)))[0].result()
      #expect(refused == .failure(Self.invalidToken))
    }
  }

  @Test func whereAuthenticationIsOffNoTokenIsAskedAbout() async throws {
    try await Self.withEtcd(knowing: nil) { fixture, _ in
      for token in ["one", "two"] {
        let renewed = try await fixture.keepAlive([1], credentials: .token(Token(token.utf8)))[0].result()
        #expect(renewed == .success(Self.renewal))
      }
      #expect(Self.streams(fixture) == ["one", "two"])
      #expect(Self.questions(fixture).allSatisfy { $0 == nil })
    }
  }

  /// Changes users, so that the bridge forgets what it knows.
  private static func changeUsers(_ fixture: BridgeFixture) async throws {
    let change = await fixture.startTogether(EtcdRPC.userDelete.method, [[]], for: .token("good"))
    try await change[0].expectEnd(.ok)
  }

  @Test(arguments: [nil, "invented"] as [String?])
  func aStreamFromBeforeAuthenticationIsOfNoUseAfterIt(token: String?) async throws {
    func credentials() -> CallCredentials { if let token { .token(Token(token.utf8)) } else { .none } }
    try await Self.withEtcd(knowing: nil) { fixture, etcd in
      let renewed = try await fixture.keepAlive([1], credentials: credentials())[0].result()
      #expect(renewed == .success(Self.renewal))
      etcd.know(["good"])
      try await Self.changeUsers(fixture)
      let refused = try await fixture.keepAlive([1], credentials: credentials())[0].result()
      let noUser = GRPCStatus(.invalidArgument, EtcdMessage.userEmpty, origin: .server)
      #expect(refused == .failure(token == nil ? noUser : Self.invalidToken))
      let record = try await fixture.peer.wait(for: "the end of the stream") {
        $0.streams(of: Self.path).first?.halfClosed == true
      }
      #expect(record.streams(of: Self.path).map(\.messages.count) == [1])
    }
  }

  @Test func aStreamFromBeforeAuthenticationIsReplacedByOneOfTheUser() async throws {
    try await Self.withEtcd(knowing: nil) { fixture, etcd in
      let ann = BasicCredentials(user: "ann", password: "secret")
      for _ in 0..<2 {
        let renewed = try await fixture.keepAlive([1], user: ann)[0].result()
        #expect(renewed == .success(Self.renewal))
        etcd.know([])
        try await Self.changeUsers(fixture)
      }
      #expect(Self.streams(fixture) == [nil, "issued.2"])
    }
  }

  @Test func aStreamGoesOnWhileAuthenticationIsOff() async throws {
    try await Self.withEtcd(knowing: nil) { fixture, _ in
      _ = try await fixture.keepAlive([1])[0].result()
      try await Self.changeUsers(fixture)
      _ = await fixture.keepAlive([1])
      try await fixture.peer.wait(for: "the second request") {
        $0.streams(of: Self.path).map(\.messages.count) == [2]
      }
      #expect(Self.questions(fixture) == [nil, nil])
    }
  }

  /// Nothing is known of a token while it is not known whether authentication is on.
  @Test func aQuestionThatFailsProvesNothing() async throws {
    try await withBridge(.init(), Bridge.Configuration(keepalivesNeedUsers: true)) { call in
      call.path == EtcdRPC.range.path
        ? .failure(GRPCCode.internal.rawValue, "broken") : .init([.headers(.grpcResponse)])
    } body: { fixture in
      let failed = try await fixture.keepAlive([1], credentials: .token(Token("any".utf8)), timeout: 500)[0].result()
      #expect(throws: GRPCStatus.self) { try failed.get() }
      #expect(Self.streams(fixture).isEmpty)
      #expect(Self.questions(fixture).allSatisfy { $0 == nil })
    }
  }
}
