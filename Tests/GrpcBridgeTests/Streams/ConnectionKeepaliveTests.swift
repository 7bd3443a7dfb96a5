@testable import GrpcBridge
import TestSupport
import Testing

/// Peers that fall silent, and peers that owe nothing.
@Suite(.repeatedAfterPauses(of: .milliseconds(500))) struct ConnectionKeepaliveTests {
  private static func configuration(time: UInt64, timeout: UInt64 = 10_000) -> Bridge.Configuration {
    var configuration = Bridge.Configuration()
    configuration.channel.keepaliveTime = time
    configuration.channel.keepaliveTimeout = timeout
    return configuration
  }

  @Test func aSilentPeerLosesItsStreams() async throws {
    try await withBridge(.init(), Self.configuration(time: 500, timeout: 4000)) { _ in
      [.headers(.grpcResponse), .data(grpcFrame([1])), .barrier, .freeze]
    } body: { fixture in
      let call = await fixture.start(.repeatableStream, [[1]])
      let status = try await call.end()
      #expect(status.code == .unavailable)
      #expect(status.message == "the connection to 127.0.0.1:\(fixture.peer.port) was lost: the peer does not answer")
      #expect(call.messages == [[1]])
    }
  }

  @Test func whatASilentPeerOwesIsRepeated() async throws {
    try await withBridge(.init(), Self.configuration(time: 500, timeout: 4000)) {
      $0.attempt == 1 ? [.freeze] : .messages([[9]])
    } body: { fixture in
      let call = await fixture.start(.repeatableStream, [[1]])
      try await call.expectEnd(.ok)
      #expect(call.messages == [[9]])
      let streams = fixture.peer.record.streams
      #expect(streams.count == 2)
      #expect(streams.first?.connection != streams.last?.connection)
    }
  }

  @Test func aPeerThatAnswersKeepsItsConnection() async throws {
    try await withBridge(.init(), Self.configuration(time: 10)) { _ in
      .hang
    } body: { fixture in
      let call = await fixture.start(.stream, [[1]])
      // Without an answer there would be one.
      let record = try await fixture.peer.wait(for: "pings") { record in
        record.streams.first.map { record.connections[$0.connection].pings >= 4 } == true
      }
      #expect(record.streams.count == 1)
      #expect(record.streams[0].closed == nil)
      #expect(call.ends == 0)
    }
  }

  @Test func nobodyIsAskedWithoutCalls() async throws {
    try await withBridge(.init(), Self.configuration(time: 10)) {
      $0.message == [1] ? .message([2]) : .hang
    } body: { fixture in
      let unary = await fixture.start(.unary, [[1]])
      try await unary.expectEnd(.ok)
      let stream = await fixture.start(.stream, [[0]])
      func pings(atLeast count: Int) async throws -> ScriptedPeer.Record {
        try await fixture.peer.wait(for: "pings on the connection of streams") { record in
          guard let last = record.streams.last, last.path == "/test/Stream" else { return false }
          return record.connections[last.connection].pings >= count
        }
      }
      // On a busy machine the unary call itself may take long enough for PINGs. After its end there are none.
      let first = try await pings(atLeast: 2)
      let (unaryNumber, streamNumber) = (first.streams[0].connection, first.streams[1].connection)
      let second = try await pings(atLeast: 6)
      let asked = second.connections.indices.filter { second.connections[$0].pings > first.connections[$0].pings }
      #expect(asked == [streamNumber])

      await fixture.with(stream) { $0.cancel($1) }
      let before = try await fixture.peer.wait(for: "a reset") { $0.streams[1].reset != nil }
      _ = await fixture.start(.unary, [[0]])
      let after = try await fixture.peer.wait(for: "pings on the other connection") {
        $0.connections[unaryNumber].pings >= first.connections[unaryNumber].pings + 3
      }
      #expect(after.connections[streamNumber].pings == before.connections[streamNumber].pings)
    }
  }

  @Test func aBusyConnectionIsNotAsked() async throws {
    try await withBridge(.init(), Self.configuration(time: 400)) {
      // A connection on which something comes all the time, and beside it one on which nothing comes.
      $0.path == "/test/Stream" ? .init(Array(repeating: .barrier, count: 200_000)) : .hang
    } body: { fixture in
      _ = await fixture.start(.stream, [[1]])
      _ = await fixture.start(.unary, [[1]])
      let record = try await fixture.peer.wait(for: "pings on the silent connection") { record in
        record.streams(of: "/test/Unary").first.map { record.connections[$0.connection].pings >= 10 } == true
      }
      let busy = try #require(record.streams(of: "/test/Stream").first)
      // A busy machine may fall silent now and then.
      #expect(record.connections[busy.connection].pings <= 5)
    }
  }
}
