import Testing

@testable import GrpcBridge

/// What is sent again, how often and how soon, without any I/O.
@Suite struct RetryPolicyTests {
  private let endpoint: Endpoint
  private let other: Endpoint

  init() throws {
    endpoint = try Endpoint("http://127.0.0.1:1")
    other = try Endpoint("http://127.0.0.1:2")
  }

  private static let lost = GRPCStatus(.unavailable, "the connection died", origin: .lost)
  private static let unavailable = GRPCStatus(.unavailable, "etcdserver: request timed out", origin: .server)
  private static let leaderless = GRPCStatus(.unavailable, EtcdMessage.noLeader, origin: .server)

  /// Sends a call, and ends its stream.
  private func decide(
    _ policy: inout RetryPolicy, _ status: GRPCStatus, isUnexecuted: Bool = false, hasAnswered: Bool = false,
    at place: Endpoint? = nil, isRepeatable: Bool = false, requiresLeader: Bool = false, members: Int = 3
  ) -> RetryPolicy.Decision {
    policy.isSent()
    return policy.ended(
      .init(status: status, isUnexecuted: isUnexecuted, hasAnswered: hasAnswered, endpoint: place ?? endpoint),
      isRepeatable: isRepeatable, requiresLeader: requiresLeader, members: members)
  }

  @Test func aRepeatableCallIsSentUntilAMemberTakesIt() {
    var policy = RetryPolicy()
    // A pause after each round of a quorum, which is two of three members.
    let decisions = (1...100).map { _ in decide(&policy, Self.unavailable, isRepeatable: true) }
    #expect(decisions.prefix(4) == [.again, .againAfterPause, .again, .againAfterPause])
    #expect(decisions.dropLast().allSatisfy { $0 != .over })
    #expect(decisions.last == .over)
    #expect(policy.attempts == RetryPolicy.maxAttempts)
  }

  @Test func oneMemberIsGivenAPauseEachTime() {
    var policy = RetryPolicy()
    let decisions = (1...3).map { _ in decide(&policy, Self.unavailable, isRepeatable: true, members: 1) }
    #expect(decisions == [.againAfterPause, .againAfterPause, .againAfterPause])
  }

  @Test func whatMayHaveBeenExecutedIsNotSentTwice() {
    var policy = RetryPolicy()
    #expect(decide(&policy, Self.unavailable) == .over)
    policy = RetryPolicy()
    #expect(decide(&policy, Self.lost) == .over)
  }

  @Test func whatNoMemberHasBegunIsSentElevenTimes() {
    var policy = RetryPolicy()
    let refused = GRPCStatus(.unavailable, "the member is going away")
    let decisions = (1...11).map { _ in decide(&policy, refused, isUnexecuted: true, members: 1) }
    #expect(decisions.first == .again)
    #expect(decisions.dropFirst().dropLast().allSatisfy { $0 == .againAfterPause })
    #expect(decisions.last == .over)
  }

  /// A call that has ended two members is not given to a third one.
  @Test func aCallIsLostTwiceAtMost() {
    var policy = RetryPolicy()
    #expect(decide(&policy, Self.lost, at: endpoint, isRepeatable: true) == .again)
    #expect(policy.lostAt == endpoint && policy.losses == 1)
    #expect(!policy.mayMove(after: Self.lost, isRepeatable: true, isResumable: false, hasAnswered: false))
    #expect(policy.mayMove(after: Self.unavailable, isRepeatable: true, isResumable: false, hasAnswered: false))
    #expect(decide(&policy, Self.lost, at: other, isRepeatable: true) == .over)
    #expect(policy.lostAt == endpoint && policy.losses == 2)
  }

  @Test func aConnectionThatDiesBeforeTheCallIsReadIsNoLoss() {
    var policy = RetryPolicy()
    #expect(decide(&policy, Self.lost, isUnexecuted: true) == .again)
    #expect(policy.losses == 0 && policy.refusals == 1 && policy.lostAt == nil)
  }

  @Test func nothingIsSentAgainThatHasAnAnswer() {
    var policy = RetryPolicy()
    #expect(decide(&policy, Self.unavailable, hasAnswered: true, isRepeatable: true) == .over)
    #expect(decide(&policy, GRPCStatus(.ok), isRepeatable: true) == .over)
    #expect(decide(&policy, GRPCStatus(.notFound, "x", origin: .server), isRepeatable: true) == .over)
  }

  /// Such refusals come before anything is executed, and concern only the member.
  @Test func membersThatAreOfNoUseArePassedOverForTwoRounds() {
    for message in [EtcdMessage.notSupportedForLearner, EtcdMessage.notLeader] {
      let status = GRPCStatus(.failedPrecondition, message, origin: .server)
      var policy = RetryPolicy()
      let decisions = (1...6).map { _ in decide(&policy, status) }
      #expect(decisions.dropLast().allSatisfy { $0 != .over } && decisions.last == .over, "\(message)")
      policy = RetryPolicy()
      #expect(decide(&policy, status, members: 1) == .over, "\(message)")
    }
    var policy = RetryPolicy()
    #expect(decide(&policy, Self.leaderless, requiresLeader: true) == .again)
    policy = RetryPolicy()
    #expect(decide(&policy, Self.leaderless) == .over)
  }

  @Test func streamsThatTheirOwnersResumeMoveAtOnce() {
    let policy = RetryPolicy()
    #expect(policy.mayMove(after: Self.lost, isRepeatable: false, isResumable: true, hasAnswered: true))
    #expect(!policy.mayMove(after: Self.lost, isRepeatable: false, isResumable: false, hasAnswered: false))
    #expect(!policy.mayMove(after: Self.lost, isRepeatable: true, isResumable: false, hasAnswered: true))
    #expect(policy.mayMove(after: Self.lost, isRepeatable: true, isResumable: false, hasAnswered: false))
  }
}
