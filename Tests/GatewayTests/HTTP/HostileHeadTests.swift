import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// Heads with more than one meaning: behind a proxy that reads another one, one request can hide another (RFC 9112,
/// section 11.2).
@Suite(.timeLimit(.minutes(10)))
struct HostileHeadTests {
  @Test func eachIsAnsweredOnceAndHidesNothing() async throws {
    #expect(HostileHead.all.count >= 60)
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for head in HostileHead.all {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send(head.bytes)
        await expect(head.outcome, on: connection, "\(head)")
        await connection.close()
        let hidden = try await gateway.http.get("/keys/\(HostileHead.hiddenKey)")
        #expect(hidden.status == 404, "\(head): the hidden write was carried out")
        if hidden.status != 404 { _ = try await gateway.http.request("DELETE", "/keys/\(HostileHead.hiddenKey)") }
      }
    }
  }

  /// The same, though the head does not arrive as a whole.
  @Test func itDoesNotMatterHowTheyArrive() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for head in HostileHead.all where head.bytes.count < 1000 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        do {
          for byte in head.bytes { try await connection.send([byte]) }
        } catch is HTTPFailure {
          // It was refused before its end.
        }
        await expect(head.outcome, on: connection, isWhole: false, "\(head), byte by byte")
        await connection.close()
        let hidden = try await gateway.http.get("/keys/\(HostileHead.hiddenKey)")
        #expect(hidden.status == 404, "\(head), byte by byte: the hidden write was carried out")
      }
    }
  }

  /// What follows a head is a request of its own only if all line ends of the head were seen, where it is read laxly.
  @Test func aHeadInPiecesIsTheLastOneWhereItIsReadLaxly() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--shards", "1"]) { gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let head = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
      func answerIsLast() async throws -> Bool {
        let response = try await connection.receive()
        #expect(response.status == 200, "\(response)")
        return response[header: "Connection"]?.lowercased() == "close"
      }
      for number in 1...3 {
        try await connection.send(head)
        #expect(try await !answerIsLast(), "\(number)")
      }
      var isLast = false
      // On a busy machine both pieces may come at once after all.
      for _ in 1...20 where !isLast {
        try await connection.send(String(head.dropLast()))
        // Its answer shows that the gateway has read what had come before.
        #expect(try await gateway.http.get("/livez").status == 200)
        try await connection.send("\r\n")
        isLast = try await answerIsLast()
      }
      #expect(isLast == HTTPLibrary.loaded.isLax)
      if isLast { try await connection.receiveClose() }
    }
  }

  /// Around the size of the buffer that libmicrohttpd begins with, where 1.0 writes past its end.
  @Test func aQueryOfAnyLengthIsAnswered() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--shards", "1"]) { gateway in
      for size in Array(stride(from: 10_000, through: 12_300, by: 50)) + Array(12_100...12_200) {
        for (query, fields) in [("", ""), ("=", ""), ("&", ""), ("", "Cookie: a\r\n")] {
          let connection = try await HTTPConnection.connect(to: gateway.url)
          let filler = String(repeating: "a", count: size)
          try await connection.send("GET /livez?\(filler)\(query) HTTP/1.0\r\n\(fields)\r\n")
          let response = try await connection.receive()
          #expect([200, 414, 431].contains(response.status), "\(size) bytes\(query), \(fields): \(response)")
          await connection.close()
        }
      }
      #expect(gateway.process.exited == nil)
    }
  }

  /// - Note: libmicrohttpd from 1.0 on refuses by itself most of what 0.9.75 lets through, and in HTML.
  private func expect(
    _ outcome: HostileHead.Outcome, on connection: HTTPConnection, isWhole: Bool = true, _ what: String
  ) async {
    do {
      let response = try await connection.receive()
      switch outcome {
      case .served(let status): #expect(response.status == status, "\(what): \(response)")
      case .refusedOrLast where !isWhole && response.status == 200: break
      case .refused, .refusedOrLast:
        if HTTPLibrary.loaded.isLax {
          expectError(response, 400, code: 3, what)
        } else {
          #expect([400, 501].contains(response.status), "\(what): \(response)")
        }
      case .ended: #expect((400...599).contains(response.status), "\(what): \(response)")
      }
      if case .served = outcome { return }
      try await connection.receiveClose()
    } catch HTTPFailure.closed where outcome == .ended {
    } catch HTTPFailure.reset where outcome == .ended {
    } catch {
      Issue.record("\(what): \(error)")
    }
  }

  /// A request whose fields come later than its first line gets the error for its fault in the same way, even if other
  /// clients have begun requests.
  @Test func aFaultThatTheLibraryFindsIsAnsweredOnTheRightConnection() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      var waiting: [HTTPConnection] = []
      for _ in 0..<20 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\n")
        waiting.append(connection)
      }
      for (index, connection) in waiting.enumerated() where index % 2 == 1 {
        try await connection.send("Content-Length: abc\r\n\r\n")
        expectError(try await connection.receive(), 400, code: 3, "a length that is none")
        try await connection.receiveClose()
      }
      for (index, connection) in waiting.enumerated() where index % 2 == 0 {
        try await connection.send("Content-Length: 14\r\n\r\n{\"key\":\"YQ==\"}")
        #expect(try await connection.receive().status == 200)
      }
    }
  }

  /// What follows chunks is a request of its own only if all chunks and trailers are read strictly.
  @Test func theAnswerToChunksIsTheLastOneWhereTheyAreReadLaxly() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.send(
        "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"key\":\"YQ==\"}\r\n0\r\n\r\n"
      )
      let response = try await connection.receive()
      #expect(response.status == 200)
      #expect((response[header: "Connection"]?.lowercased() == "close") == HTTPLibrary.loaded.isLax)
    }
  }
}
