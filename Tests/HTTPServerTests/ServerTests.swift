import EventLoop
@testable import HTTPServer
import Logging
import TestSupport
import Testing

/// A server in this process, over real sockets: under AddressSanitizer they check how long the pointers from
/// libmicrohttpd are valid.
@Suite(.timeLimit(.minutes(5)))
struct ServerTests {
  /// Runs a server on a thread of its own for as long as `body` runs.
  private func withServer(
    _ limits: HTTPServer.Limits = .init(), memory: Int = 64 << 20,
    _ body: (String, LoopBound<TestService>) async throws -> Void
  ) async throws {
    let loop = try EventLoop()
    let listeners = try Listeners([try #require(ListenAddress("127.0.0.1:0"))], shards: 1)
    let service = LoopBound(
      try TestService(loop: loop, listeners: listeners.shards[0], limits: limits, memoryBytes: memory), loop: loop)
    let thread = try LoopThread(name: "test server", running: LoopBound(loop, loop: loop))
    let result: Result<Void, any Error>
    do {
      result = .success(try await body("\(listeners.addresses[0])", service))
    } catch {
      result = .failure(error)
    }
    service.remote.execute { service.value.drain() }
    thread.join()
    try result.get()
  }

  /// The value that `read` finds, on the loop's thread.
  private func ask<Value: Sendable>(
    _ service: LoopBound<TestService>, _ read: @escaping @Sendable (TestService) -> Value
  ) async -> Value {
    await withCheckedContinuation { continuation in
      service.remote.execute { continuation.resume(returning: read(service.value)) }
    }
  }

  /// Waits until `read` finds a number.
  private func wait(
    for number: Int, of service: LoopBound<TestService>, _ read: @escaping @Sendable (TestService) -> Int
  ) async throws {
    _ = try await eventually("\(number)") { await ask(service, read) == number ? true : nil }
  }

  @Test(arguments: ["/", "/later", "/gate/opens", "/held"])
  func aBodyComesBackWhateverTheHandlerWaitsFor(_ path: String) async throws {
    try await withServer { url, _ in
      let connection = try await HTTPConnection.connect(to: url)
      // More than libmicrohttpd's buffer holds, so that it comes in pieces; and again on the same connection.
      let body = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      for count in [0, 1, 100_000] {
        let response = try await connection.request("POST", path, body: Array(body.prefix(count)))
        // JSON ends with a line feed.
        #expect(response.status == 200 && response.body == body.prefix(count) + [10])
      }
      await connection.close()
    }
  }

  @Test func chunksAreABody() async throws {
    try await withServer { url, _ in
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.send(
        "POST /held HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n")
      #expect(try await connection.receive().text == "hello!\n")
      await connection.close()
    }
  }

  @Test func requestsBehindOthersAreAnsweredInTheirOrder() async throws {
    try await withServer { url, _ in
      let connection = try await HTTPConnection.connect(to: url)
      for path in ["/later", "/stream", "/", "/gate/opens"] {
        try await connection.sendRequest("POST", path, body: Array(path.utf8))
      }
      for expected in ["/later\n", "135", "/\n", "/gate/opens\n"] {
        #expect(try await connection.receive().text == expected)
      }
      await connection.close()
    }
  }

  @Test func aStreamThatBreaksIsCut() async throws {
    try await withServer { url, service in
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.sendRequest("GET", "/breaks")
      #expect(try await connection.receiveHead().status == 200)
      try await expectCut { while try await connection.receivePart() != nil {} }
      try await wait(for: 1, of: service) { $0.cutCount }
      await connection.close()
    }
  }

  /// Each of them ends the connection, after an answer that arrives.
  @Test(arguments: [
    ("/gate/refuses", 401), ("/refuses-midway", 403), ("/", 413),
  ])
  func anAnswerBeforeTheEndOfTheRequestArrives(_ path: String, _ status: Int) async throws {
    var limits = HTTPServer.Limits()
    limits.requestBytes = path == "/" ? 1000 : 1 << 20
    try await withServer(limits) { url, _ in
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.sendRequest("POST", path, body: [UInt8](repeating: 120, count: 200_000))
      #expect(try await connection.receive().status == status)
      try await connection.receiveClose()
      await connection.close()
    }
  }

  @Test func whatIsTooMuchForTheBudgetIsRefused() async throws {
    try await withServer(memory: 1 << 20) { url, _ in
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.sendRequest("POST", "/", body: [UInt8](repeating: 120, count: 2 << 20))
      let response = try await connection.receive()
      #expect(response.status == 503 && response.head["Retry-After"] == "1")
      await connection.close()
      let next = try await HTTPConnection.connect(to: url)
      #expect(try await next.request("POST", "/", body: [120]).status == 200)
      await next.close()
    }
  }

  /// Whatever waits for the client is notified of its end, wherever the request is.
  @Test(arguments: ["/never", "/gate/stays-shut"])
  func aClientThatLeavesIsNoticed(_ path: String) async throws {
    try await withServer { url, service in
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.sendRequest("POST", path, body: [UInt8](repeating: 120, count: 50_000))
      try await wait(for: 1, of: service) { $0.server.exchangeCount }
      await connection.reset()
      try await wait(for: 1, of: service) { $0.endedCount }
      let gone = await ask(service) { $0.goneCount }
      #expect(gone > 0)
    }
  }

  @Test func aClientThatHasClosedItsSideIsAnswered() async throws {
    try await withServer { url, _ in
      for path in ["/later", "/gate/opens", "/stream", "/taken-over"] {
        let connection = try await HTTPConnection.connect(to: url)
        try await connection.sendRequest("POST", path, body: [120])
        await connection.finishSending()
        #expect(try await connection.receive().status == 200)
        await connection.close()
      }
    }
  }

  @Test func aConnectionThatIsTakenOverAnswers() async throws {
    try await withServer { url, service in
      let connection = try await HTTPConnection.connect(to: url)
      #expect(try await connection.request("GET", "/taken-over").text == "taken")
      try await connection.receiveClose()
      await connection.close()
      try await wait(for: 0, of: service) { $0.server.connectionCount }
    }
  }

  /// A handler that answers twice is a bug. It costs its own connection and no other.
  @Test func aSecondAnswerCutsItsConnectionAlone() async throws {
    try await withServer { url, service in
      let other = try await HTTPConnection.connect(to: url)
      try await other.sendRequest("POST", "/never", body: [120])
      let connection = try await HTTPConnection.connect(to: url)
      try await connection.sendRequest("POST", "/twice", body: [120])
      try await expectCut { _ = try await connection.receive() }
      try await wait(for: 1, of: service) { $0.server.exchangeCount }
      await connection.close()
      await other.reset()
    }
  }
}
