import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// `X-Request-Id`: the client's own comes back, or the gateway makes one.
@Suite struct RequestIDTests {
  /// Of every kind: an RPC, a probe, a page, an error of the router, of the head, of the body and of its size, a
  /// constant answer, a stream's error.
  private static let requests: [(method: String, path: String, body: String?, status: Int)] = [
    ("POST", "/v3/kv/range", #"{"key":"YQ=="}"#, 200), ("GET", "/livez", nil, 200), ("GET", "/", nil, 200),
    ("GET", "/keys/a", nil, 404), ("GET", "/nope", nil, 404), ("GET", "/v3/kv/range", nil, 405),
    ("POST", "/v3/kv/range", "}", 400), ("POST", "/v3/kv/range", String(repeating: " ", count: 2000), 413),
    ("OPTIONS", "*", nil, 204), ("POST", "/v3/watch", "}", 400), ("GET", "/openapi.json", nil, 200),
    ("GET", "/snapshot", nil, 200),
  ]

  @Test func everyResponseHasOne() async throws {
    let flags = ["--max-request-bytes", "1000", "--cors", "https://a.example"]
    try await withEtcdAndGateway(.v3_5, gateway: flags) { _, gateway in
      let http = gateway.http
      var made: Set<String> = []
      for (method, path, body, status) in Self.requests {
        let body = body.map { Array($0.utf8) }
        let name = "\(method) \(path)"
        let given = try await http.request(method, path, headers: [("x-request-id", "a/1=!~\"")], body: body)
        #expect(given.status == status && given[header: "X-Request-Id"] == "a/1=!~\"", "\(name): \(given.head)")
        let other = try await http.request(method, path, body: body)
        let id = try #require(other[header: "X-Request-Id"], "\(name): \(other.head)")
        #expect(id.wholeMatch(of: /[0-9a-z]{13}/) != nil && made.insert(id).inserted, "\(name): \(id)")
      }
      let longest = String(repeating: "x", count: 128)
      #expect(try await http.get("/livez", headers: [("X-Request-Id", longest)])[header: "X-Request-Id"] == longest)
      for wrong in ["", "a b", "\u{e9}", longest + "x"] {
        let id = try await http.get("/livez", headers: [("X-Request-Id", wrong)])[header: "X-Request-Id"]
        #expect(id?.count == 13, "\(wrong): \(id ?? "none")")
      }

      // Heads that the gateway and libmicrohttpd refuse.
      for fault in ["Host: a\r\nHost: b", "Host: a\r\nContent-Length: x", "Host: a\r\nTransfer-Encoding: x"] {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("POST /keys/a HTTP/1.1\r\nX-Request-Id: mine\r\n\(fault)\r\n\r\n")
        let answer = try await connection.receive()
        #expect(answer.status == 400 && answer[header: "X-Request-Id"] == "mine", "\(fault): \(answer.head)")
        await connection.close()
      }

      let page = [("Origin", "https://a.example"), ("X-Request-Id", "page")]
      let stream = try await JSONStream.open(
        gateway.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#, headers: page)
      let head = try await stream.head()
      #expect(head.status == 200 && head["X-Request-Id"] == "page")
      #expect(try #require(head["Access-Control-Expose-Headers"]).split(separator: ", ").contains("X-Request-Id"))
      await stream.close()
      let socket = try await WebSocketClient.connect(gateway.url, "/v3/watch", headers: page)
      #expect(socket.head["X-Request-Id"] == "page")
      await socket.close()
      do {
        _ = try await WebSocketClient.connect(
          gateway.url, "/v3/watch", headers: [("Sec-WebSocket-Version", "12"), ("X-Request-Id", "old")])
      } catch let error as WebSocketClient.RequestError {
        #expect(error.response.status == 426 && error.response[header: "X-Request-Id"] == "old")
      }
    }
  }

  @Test func numbersDoNotComeTwice() {
    var numbers = UniqueNumbers()
    let all = (0..<10_000).map { _ in RequestID(nil, orMadeOf: numbers.next()).text }
    #expect(Set(all).count == all.count && all.allSatisfy { $0.utf8.count == 13 })
    #expect(RequestID.made(0).text == "0000000000000" && RequestID.made(.max).text == "fzzzzzzzzzzzz")
  }
}
