@testable import GrpcBridge
import TestSupport
import Testing

/// Calls with several messages each way.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct StreamTests {
  @Test func messagesGoBothWaysUntilBothSidesEnd() async throws {
    let second = ScriptedPeer.Gate()
    try await withBridge { _ in
      [
        .headers(.grpcResponse), .data(grpcFrame([1])), .wait(second), .data(grpcFrame([]) + grpcFrame([2, 3])),
        .trailers(.grpcStatus(0)),
      ]
    } body: { fixture in
      let call = await fixture.start(.stream, [[10], [], [11]])
      _ = try await call.messages(1)
      let headers = fixture.peer.record.streams[0].headers
      #expect(headers["hasleader"] == "true")
      #expect(headers["client-api-version"] != nil)
      #expect(headers["grpc-timeout"] == nil)

      // The request side has sent everything by now, but is open.
      try await fixture.peer.wait(for: "three messages") { $0.streams[0].messages == [[10], [], [11]] }
      await fixture.with(call) { $0.send(CallMessage(copying: [12]), on: $1) }
      try await fixture.peer.wait(for: "a fourth message") { $0.streams[0].messages.last == [12] }
      #expect(!fixture.peer.record.streams[0].halfClosed)
      await fixture.with(call) { $0.finishSending($1) }
      try await fixture.peer.wait(for: "the end of the messages") { $0.streams[0].halfClosed }
      #expect(call.ends == 0)

      second.open()
      let end = try await call.end()
      #expect(end == GRPCStatus(.ok, origin: .server))
      #expect(call.messages == [[1], [], [2, 3]])
      #expect(call.ends == 1)
    }
  }

  @Test func aStreamMayEndWithoutMessages() async throws {
    try await withBridge { _ in
      .messages([])
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]])
      await fixture.with(call) { $0.finishSending($1) }
      try await call.expectEnd(.ok)
    }
  }

  @Test func aMessageCutShortIsAnError() async throws {
    try await withBridge { _ in
      [.headers(.grpcResponse), .data(grpcFrame([1]) + grpcFrame([2], claiming: 3)), .trailers(.grpcStatus(0))]
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]])
      try await call.expectEnd(.internal)
    }
  }

  @Test func theServersEndClosesTheRequestsToo() async throws {
    try await withBridge { _ in
      .messages([[1]], status: 7, text: "enough")
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]])
      let end = try await call.end()
      #expect(end == GRPCStatus(.permissionDenied, "enough", origin: .server))
      let record = try await fixture.peer.wait(for: "the end of the stream") { $0.streams[0].closed != nil }
      #expect(record.streams[0].reset?.code == HTTP2Error.noError)
      // Too late: the call has ended.
      await fixture.with(call) { $0.send(CallMessage(copying: [2]), on: $1) }
      await fixture.with(call) { $0.finishSending($1) }
      #expect(call.ends == 1)
    }
  }

  @Test func streamsHaveAConnectionOfTheirOwnOnceTheyNeedOne() async throws {
    try await withBridge { _ in
      .message([1])
    } body: { fixture in
      let unary = await fixture.start(.unary, [[1]])
      try await unary.expectEnd(.ok)
      // The authenticator's and the one for unary calls.
      let before = try await fixture.peer.wait(for: "two connections") { $0.connections.count >= 2 }
      #expect(before.connections.count == 2)

      let stream = await fixture.start(.stream, [[1]])
      try await stream.expectEnd(.ok)
      let again = await fixture.start(.unary, [[1]])
      try await again.expectEnd(.ok)
      let record = fixture.peer.record
      #expect(record.connections.count == 3)
      #expect(record.streams(of: "/test/Stream").map(\.connection) == [2])
      #expect(Set(record.streams(of: "/test/Unary").map(\.connection)).count == 1)
      #expect(record.streams(of: "/test/Unary").allSatisfy { $0.connection != 2 && $0.headers["hasleader"] == nil })
    }
  }

  @Test func aPausedStreamHoldsTheServerBack() async throws {
    let message = [UInt8](repeating: 7, count: 4 << 20)
    try await withBridge { call in
      call.message == [1]
        ? [.headers(.grpcResponse), .data(grpcFrame([])), .data(grpcFrame(message)), .trailers(.grpcStatus(0))]
        : .message([2])
    } body: { fixture in
      let paused = await fixture.start(.stream, [[1]]) { bridge, call, count in
        if count == 1 { bridge.pause(call) }
      }
      let window = 1 << 20
      try await fixture.peer.wait(for: "a full window") { $0.streams.first?.bytesSent ?? 0 >= window }
      // A message on the same connection shows that all of it was read, and that others are not held back.
      let other = await fixture.start(.stream, [[2]])
      try await other.expectEnd(.ok)
      #expect(fixture.peer.record.streams[0].bytesSent <= window + 16_384)
      #expect(paused.messages.last.map { $0.count < message.count } == true)

      await fixture.with(paused) { $0.resume($1) }
      try await paused.expectEnd(.ok)
      #expect(paused.messages == [[], message])
    }
  }

  @Test func aDeadlineEndsAStream() async throws {
    try await withBridge { _ in
      [.headers(.grpcResponse), .data(grpcFrame([1]))]
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]], timeout: 2000)
      try await call.expectEnd(.deadlineExceeded)
      try await fixture.peer.wait(for: "a reset") { $0.streams.first?.reset?.code == HTTP2Error.cancel }
      #expect(fixture.peer.record.streams[0].headers["grpc-timeout"] == "2000m")
    }
  }
}

/// What a delegate may do when it is notified of a message.
@Suite(.repeatedAfterPauses(of: .seconds(1))) struct StreamReactionTests {
  private static let twoMessages: ScriptedPeer.Answer = [
    .headers(.grpcResponse), .data(grpcFrame([1]) + grpcFrame([2])),
  ]

  @Test func itSendsAndEnds() async throws {
    try await withBridge { _ in
      Self.twoMessages
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]]) { bridge, call, count in
        bridge.send(CallMessage(copying: [UInt8(count)]), on: call)
        if count == 2 { bridge.finishSending(call) }
      }
      let record = try await fixture.peer.wait(for: "the end of the messages") { $0.streams.first?.halfClosed == true }
      #expect(record.streams[0].messages == [[1], [1], [2]])
      #expect(call.ends == 0)
    }
  }

  @Test func afterItCancelsItHearsNothing() async throws {
    try await withBridge { _ in
      Self.twoMessages
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]]) { bridge, call, _ in bridge.cancel(call) }
      try await fixture.peer.wait(for: "a reset") { $0.streams.first?.reset?.code == HTTP2Error.cancel }
      // Another stream is answered after everything that was sent to the first one.
      let other = await fixture.start(.stream, [[1]])
      _ = try await other.messages(2)
      #expect(call.messages == [[1]])
      #expect(call.ends == 0)
    }
  }

  @Test func itEndsTheBridge() async throws {
    try await withBridge { _ in
      Self.twoMessages
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]]) { bridge, _, _ in bridge.close() }
      try await call.expectEnd(.unavailable)
      #expect(call.messages == [[1]])
      #expect(call.ends == 1)
      let late = await fixture.start(.stream, [[1]])
      try await late.expectEnd(.unavailable)
      #expect(fixture.peer.record.streams.count == 1)
    }
  }
}
