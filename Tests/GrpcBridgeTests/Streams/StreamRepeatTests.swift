import EtcdSchema
@testable import GrpcBridge
import SwiftProtobuf
import TestSupport
import Testing

/// Streams that are begun again, and streams that must not be.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct StreamRepeatTests {
  private static let messages: [[UInt8]] = [[1], [2, 2], []]

  /// Logs users in, each time with another token; `answer` is the answer to all other calls.
  private static func loggingIn(_ answer: @escaping ScriptedPeer.Script) -> ScriptedPeer.Script {
    { call in
      guard call.path == EtcdRPC.authenticate.path else { return answer(call) }
      let response = Etcdserverpb_AuthenticateResponse.with { $0.token = "token.\(call.attempt)" }
      return .message((try? response.serializedBytes()) ?? [])
    }
  }

  @Test func aRefusedStreamIsRepeatedWithAllMessages() async throws {
    try await withBridge {
      $0.attempt < 3 ? .refused : .messages([[9]])
    } body: { fixture in
      let call = await fixture.start(.stream, Self.messages)
      try await call.expectEnd(.ok)
      #expect(call.messages == [[9]])
      let streams = fixture.peer.record.streams
      #expect(streams.count == 3)
      #expect(streams.last?.messages == Self.messages)
    }
  }

  @Test func whatIsSentBetweenTwoAttemptsIsNotLost() async throws {
    let gate = ScriptedPeer.Gate()
    let answer = ScriptedPeer.Gate()
    try await withBridge {
      $0.attempt == 1 ? ScriptedPeer.Answer.refused.after(gate) : ScriptedPeer.Answer.messages([[9]]).after(answer)
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]])
      try await fixture.peer.wait(for: "the first attempt") { $0.streams.first?.messages == [[1]] }
      await fixture.with(call) { $0.send(CallMessage(copying: [2]), on: $1) }
      try await fixture.peer.wait(for: "its second message") { $0.streams.first?.messages == [[1], [2]] }
      gate.open()
      await fixture.with(call) { $0.send(CallMessage(copying: [3]), on: $1) }
      await fixture.with(call) { $0.finishSending($1) }
      try await fixture.peer.wait(for: "the second attempt") {
        $0.streams.count == 2 && $0.streams[1].messages == [[1], [2], [3]] && $0.streams[1].halfClosed
      }
      answer.open()
      try await call.expectEnd(.ok)
    }
  }

  @Test func aLostConnectionIsRepeatedWhereThatIsAllowed() async throws {
    try await withBridge {
      $0.attempt == 1 ? [.close(abruptly: false)] : .messages([[9]])
    } body: { fixture in
      let call = await fixture.start(.repeatableStream, Self.messages)
      try await call.expectEnd(.ok)
      #expect(fixture.peer.record.streams.map(\.messages) == [Self.messages, Self.messages])

      let other = await fixture.start(.stream, Self.messages)
      let status = try await other.end()
      #expect(status.code == .unavailable)
      #expect(status.message.hasPrefix("the connection to 127.0.0.1:"), "\(status.message)")
      #expect(fixture.peer.record.streams(of: "/test/Stream").count == 1)
    }
  }

  @Test func nothingIsRepeatedOnceAMessageHasCome() async throws {
    try await withBridge { _ in
      [.headers(.grpcResponse), .data(grpcFrame([9])), .barrier, .close(abruptly: true)]
    } body: { fixture in
      let call = await fixture.start(.repeatableStream, Self.messages)
      let status = try await call.end()
      #expect(status.code == .unavailable)
      #expect(status.message.hasPrefix("the connection to 127.0.0.1:"), "\(status.message)")
      #expect(call.messages == [[9]])
      #expect(fixture.peer.record.streams.count == 1)
    }
  }

  @Test func aTokenIsRenewedAtTheStart() async throws {
    try await withBridge(
      script: Self.loggingIn { call in
        call.attempt == 1 ? .failure(16, "etcdserver: invalid auth token") : .messages([[9]])
      }
    ) { fixture in
      let call = await fixture.start(
        .stream, Self.messages, user: BasicCredentials(user: "ann", password: "secret"))
      try await call.expectEnd(.ok)
      let streams = fixture.peer.record.streams(of: "/test/Stream")
      #expect(streams.map { $0.headers["token"] } == ["token.1", "token.2"])
      #expect(streams.last?.messages == Self.messages)
    }
  }

  /// A member that has been away does not know the token yet. No further login would help.
  @Test func aTokenThatIsTooNewForAMemberIsTriedAgain() async throws {
    try await withBridge(
      script: Self.loggingIn { call in
        call.attempt < 5 ? .failure(16, "etcdserver: invalid auth token") : .messages([[9]])
      }
    ) { fixture in
      let call = await fixture.start(
        .stream, Self.messages, user: BasicCredentials(user: "ann", password: "secret"))
      try await call.expectEnd(.ok)
      let tokens = fixture.peer.record.streams(of: "/test/Stream").map { $0.headers["token"] }
      #expect(tokens == ["token.1", "token.2", "token.2", "token.2", "token.2"])
    }
  }

  @Test func aTokenThatNoMemberEverKnowsIsGivenUp() async throws {
    try await withBridge(
      script: Self.loggingIn { call in
        .failure(16, "etcdserver: invalid auth token")
      }
    ) { fixture in
      let call = await fixture.start(
        .stream, Self.messages, user: BasicCredentials(user: "ann", password: "secret"))
      let status = try await call.end()
      #expect(status.code == .unauthenticated)
      #expect(fixture.peer.record.streams(of: EtcdRPC.authenticate.path).count == 2)
      #expect(fixture.peer.record.streams(of: "/test/Stream").count == 10)
    }
  }

  @Test func aTokenThatAMessageRefusesIsReplaced() async throws {
    try await withBridge(
      script: Self.loggingIn { call in
        .messages([[9]])
      }
    ) { fixture in
      let ann = BasicCredentials(user: "ann", password: "secret")
      let first = await fixture.start(.stream, Self.messages, user: ann)
      try await first.expectEnd(.ok)
      let second = await fixture.start(.stream, Self.messages, user: ann, insteadOf: first)
      try await second.expectEnd(.ok)
      // The first one's token is not new any more.
      let third = await fixture.start(.stream, Self.messages, user: ann, insteadOf: first)
      try await third.expectEnd(.ok)
      let tokens = fixture.peer.record.streams(of: "/test/Stream").map { $0.headers["token"] }
      #expect(tokens == ["token.1", "token.2", "token.2"])
    }
  }

  @Test func aStreamGoesOnAfterAGoodbye() async throws {
    let gate = ScriptedPeer.Gate()
    try await withBridge {
      $0.message == [1]
        ? [
          .headers(.grpcResponse), .data(grpcFrame([8])), .goAway(lastStream: .max, code: 0), .wait(gate),
          .data(grpcFrame([9])), .trailers(.grpcStatus(0)),
        ] : .messages([[7]])
    } body: { fixture in
      let old = await fixture.start(.stream, [[1]])
      _ = try await old.messages(1)
      try await fixture.peer.wait(for: "another connection") { $0.connections.count == 4 }
      let new = await fixture.start(.stream, [[2]])
      try await new.expectEnd(.ok)
      await fixture.with(old) { $0.send(CallMessage(copying: [3]), on: $1) }
      try await fixture.peer.wait(for: "a later message") { $0.streams[0].messages == [[1], [3]] }
      gate.open()
      try await old.expectEnd(.ok)
      #expect(old.messages == [[8], [9]])
      let record = fixture.peer.record
      #expect(record.streams.count == 2)
      #expect(record.streams[0].connection != record.streams[1].connection)
      try await fixture.peer.wait(for: "the end of the old connection") {
        $0.connections[$0.streams[0].connection].closed != nil
      }
    }
  }
}
