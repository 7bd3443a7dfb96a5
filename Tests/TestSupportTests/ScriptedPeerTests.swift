import Foundation
import TestSupport
import Testing

/// The peer against a client of another make: curl's HTTP/2.
@Suite(.timeLimit(.minutes(15)))
struct ScriptedPeerTests {
  @Test func recordsAndAnswersAMessage() async throws {
    let peer = try ScriptedPeer { call in .message(call.message.reversed()) }
    let answer = try await curl(peer, "/a.B/C", frame: grpcFrame([1, 2, 3]), headers: ["token: t.1"])
    #expect(answer.exitCode == 0)
    #expect(answer.body == grpcFrame([3, 2, 1]))
    #expect(answer.head.contains("content-type: application/grpc"))
    #expect(answer.head.contains("grpc-status: 0"))
    let record = try await peer.wait(for: "the end of the connection") { $0.connections.first?.closed != nil }
    #expect(record.connections.count == 1)
    #expect(record.connections[0].closed?.byClient == true)
    #expect(!record.connections[0].settings.isEmpty)
    let stream = try #require(record.streams.first)
    #expect(stream.path == "/a.B/C")
    #expect(stream.headers["token"] == "t.1")
    #expect(stream.messages == [[1, 2, 3]])
    #expect(stream.halfClosed && stream.closed != nil && stream.reset == nil)
  }

  @Test func sendsTrailersOnlyErrorsPercentEncoded() async throws {
    let peer = try ScriptedPeer { _ in .failure(5, "gone: 100 % ü") }
    let answer = try await curl(peer, "/a.B/C", frame: grpcFrame([]))
    #expect(answer.body.isEmpty)
    #expect(answer.head.contains("grpc-status: 5"))
    #expect(answer.head.contains("grpc-message: gone: 100 %25 %C3%BC"))
  }

  @Test func countsAttemptsAndAnswersPlainHTTP() async throws {
    let peer = try ScriptedPeer { .http(status: 500 + $0.attempt, body: "try \($0.attempt)") }
    for attempt in 1...2 {
      let answer = try await curl(peer, "/x", frame: [])
      #expect(answer.head.contains("HTTP/2 \(500 + attempt)"))
      #expect(answer.body == Array("try \(attempt)".utf8))
    }
  }

  @Test func dripsWithBarriersAndGates() async throws {
    let gate = ScriptedPeer.Gate()
    let frame = grpcFrame(Array("dripped".utf8))
    let peer = try ScriptedPeer { call in
      call.path == "/drip" ? .dripped(frame.map { [$0] }) : ScriptedPeer.Answer.message([7]).after(gate)
    }
    let dripped = try await curl(peer, "/drip", frame: grpcFrame([]))
    #expect(dripped.body == frame)
    async let held = curl(peer, "/held", frame: grpcFrame([]))
    try await peer.wait(for: "the held call") { $0.streams(of: "/held").first?.halfClosed == true }
    #expect(peer.record.streams(of: "/held").first?.closed == nil)
    gate.open()
    #expect(try await held.body == grpcFrame([7]))
  }

  @Test func sendsLargeBodiesThroughTheWindow() async throws {
    let body = [UInt8](repeating: 0x5a, count: 20_000_000)
    let peer = try ScriptedPeer { _ in .message(body) }
    let answer = try await curl(peer, "/large", frame: grpcFrame([]))
    #expect(answer.body.count == body.count + 5)
    let record = try await peer.wait(for: "the end") { $0.connections.first?.closed != nil }
    #expect(record.streams[0].bytesSent == body.count + 5)
    #expect(record.connections[0].windowIncrements > 0)
  }

  /// curl's codes for a transfer that broke off (curl(1), "Exit codes"): which one it uses changes from version to
  /// version.
  private static let brokenOff: Set<Int32> = [16, 18, 52, 55, 56, 92]

  @Test(
    arguments: [
      [.reset(code: HTTP2Error.internalError)],
      [.headers(.grpcResponse), .data([0, 0]), .reset(code: HTTP2Error.cancel)],
      [.close(abruptly: false)],
      [.close(abruptly: true)],
      [.headers(.grpcResponse), .data([0, 0]), .barrier, .close(abruptly: false)],
    ] as [[ScriptedPeer.Step]])
  func breaksOff(steps: [ScriptedPeer.Step]) async throws {
    let peer = try ScriptedPeer { _ in .init(steps) }
    let answer = try await curl(peer, "/x", frame: grpcFrame([]))
    #expect(Self.brokenOff.contains(answer.exitCode), "\(answer.exitCode): \(answer.errors)")
  }

  @Test func goesAway() async throws {
    let peer = try ScriptedPeer { _ in
      [.goAway(lastStream: 0, code: HTTP2Error.enhanceYourCalm), .headers(.grpcResponse)]
    }
    let answer = try await curl(peer, "/x", frame: grpcFrame([]))
    #expect(answer.exitCode != 0)
    try await peer.wait(for: "the end") { $0.connections.allSatisfy { $0.closed != nil } }
  }

  @Test func recordsTheResetOfAClientThatLeaves() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    let answer = try await curl(peer, "/x", frame: grpcFrame([]), options: ["--max-time", "10"])
    #expect(answer.exitCode == 28)
    let record = try await peer.wait(for: "the end") { $0.streams.first?.closed != nil }
    #expect(record.streams[0].reset?.code == HTTP2Error.cancel || record.connections[0].closed?.byClient == true)
  }

  @Test func refusesConnectionsUntilItListens() async throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let peer = try ScriptedPeer(settings: settings) { _ in .message([]) }
    #expect(try await curl(peer, "/x", frame: []).exitCode == 7)
    peer.listen(true)
    let open = try await curl(peer, "/x", frame: [], options: ["--retry", "5", "--retry-connrefused"])
    #expect(open.exitCode == 0)
    #expect(peer.record.connections.count == 1)
  }

  @Test func welcomesWithSilenceGarbageOrTheDoor() async throws {
    var settings = ScriptedPeer.Settings()
    settings.welcome = { [.silence, .close, .bytes(Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8))][$0] }
    let peer = try ScriptedPeer(settings: settings) { _ in .message([]) }
    #expect(try await curl(peer, "/x", frame: [], options: ["--max-time", "10"]).exitCode == 28)
    for _ in 0..<2 {
      #expect(try await curl(peer, "/x", frame: []).exitCode != 0)
    }
    #expect(peer.record.connections.count == 3)
    #expect(peer.record.streams.isEmpty)
  }

  @Test func saysWhatItWaitedForInVain() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    let error = await #expect(throws: ScriptedPeer.Timeout.self) {
      try await peer.wait(for: "a miracle", within: .milliseconds(20)) { !$0.streams.isEmpty }
    }
    #expect(error?.description.contains("a miracle") == true)
  }
}

private struct CurlAnswer {
  let exitCode: Int32
  let head: String
  let body: [UInt8]
  let errors: String
}

/// One POST of a gRPC frame over HTTP/2 without TLS.
private func curl(
  _ peer: ScriptedPeer, _ path: String, frame: [UInt8], headers: [String] = [], options: [String] = []
) async throws -> CurlAnswer {
  try await withTemporaryDirectory { directory in
    let (request, head, body) = ("\(directory)/request", "\(directory)/head", "\(directory)/body")
    try Data(frame).write(to: URL(filePath: request))
    let process = try await ChildProcess.start(
      "/usr/bin/curl",
      ["-sS", "--http2-prior-knowledge", "--data-binary", "@\(request)", "-D", head, "-o", body]
        + headers.flatMap { ["-H", $0] } + options + [peer.endpoint + path],
      output: "\(directory)/output", error: "\(directory)/errors")
    guard case .code(let exitCode) = try await process.exit() else { throw TestSupportError("curl was killed") }
    func content(_ path: String) -> Data { FileManager.default.contents(atPath: path) ?? Data() }
    return CurlAnswer(
      exitCode: exitCode, head: String(decoding: content(head), as: UTF8.self), body: Array(content(body)),
      errors: process.errorOutput)
  }
}
