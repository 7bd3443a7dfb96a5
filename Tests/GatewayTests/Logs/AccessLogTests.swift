import Foundation
import TestSupport
import Testing

@testable import Gateway

/// `--access-log` and `--log-format` of a running gateway.
@Suite(.timeLimit(.minutes(10)))
struct AccessLogTests {
  /// The lines of a request so far.
  private func lines(_ gateway: GatewayProcess, of id: String) throws -> [JSON] {
    // The last line may be incomplete.
    let whole = gateway.log.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    return try whole.map { try JSON(parsing: Array($0.utf8)) }.filter { $0["request_id"]?.string == id }
  }

  private func line(_ gateway: GatewayProcess, of id: String, _ message: String = "request") async throws -> JSON {
    try await eventually("line '\(message)' of \(id)") {
      try lines(gateway, of: id).first { $0["message"]?.string == message }
    }
  }

  @Test func everyRequestIsALine() async throws {
    let flags = ["--access-log", "all", "--log-format", "json", "--shards", "1", "--trusted-proxies", "127.0.0.1"]
    try await withEtcd(.v3_5) { etcd in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await withGateway([etcd.url], flags) { gateway in
        let http = gateway.http
        let put = try await http.request(
          "PUT", "/keys/a%0Ab?lease_ttl=60&x=sesame", user: "root:rootpw",
          headers: [("X-Request-Id", "bad"), ("X-Forwarded-For", "2001:db8::7")], body: Array("value".utf8))
        #expect(put.status == 400)
        let bad = try await line(gateway, of: "bad")
        #expect(bad["method"] == "PUT" && bad["route"] == "/keys/{key}" && bad["path"] == "/keys/a%0Ab")
        #expect(bad["peer"] == "2001:db8::7" && bad["user"] == "root" && bad["level"] == "info")
        #expect(bad["status"] == 400 && bad["code"] == "InvalidArgument" && bad["etcd_seconds"] == nil)

        // Credentials of every kind, right and wrong ones; each batched read has its time at etcd.
        let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
        let good = try await http.get(
          "/keys/k", user: "root:rootpw",
          headers: [("X-Request-Id", "good"), ("traceparent", "00-\(traceID)-00f067aa0ba902b7-00")])
        #expect(good.status == 404)
        let read = try await line(gateway, of: "good")
        #expect(read["status"] == 404 && read["code"] == "NotFound" && read["bytes_in"] == 0)
        #expect(read["trace_id"]?.string == traceID)
        #expect(read["bytes_out"]?.number == Double(good.body.count) && read["peer"] == "127.0.0.1")
        #expect(read["endpoint"]?.string == etcd.url.replacing("http://", with: ""))
        let (whole, atEtcd) = (read["seconds"]?.number ?? 0, read["etcd_seconds"]?.number ?? 0)
        #expect(atEtcd > 0 && whole > atEtcd, "\(read)")
        let login = try await http.post(
          "/v3/auth/authenticate", ["name": "root", "password": "rootpw"], headers: [("X-Request-Id", "login")])
        let token = try #require(try login.json["token"]?.string)
        let loggedIn = try await line(gateway, of: "login")
        #expect(loggedIn["code"] == "OK" && loggedIn["trace_id"] == nil)
        _ = try await http.get("/keys/k", headers: [("Authorization", token), ("X-Request-Id", "token")])
        #expect(try await line(gateway, of: "token")["user"] == nil)
        _ = try await http.get("/keys/k", user: "ro\not:hunter2", headers: [("X-Request-Id", "wrong")])
        let wrong = try await line(gateway, of: "wrong")
        #expect(wrong["status"] == 401 && wrong["code"] == "InvalidArgument" && wrong["user"] == "ro\not", "\(wrong)")
        _ = try await http.get("/nope/\(String(repeating: "x", count: 2000))", headers: [("X-Request-Id", "long")])
        let long = try await line(gateway, of: "long")
        #expect(long["route"] == "none" && long["path"]?.string?.utf8.count == 1027, "\(long)")

        try await streams(gateway, user: "root:rootpw")
        // A request that is too large is answered before it is complete.
        let large = try await http.request(
          "PUT", "/keys/k", user: "root:rootpw", headers: [("X-Request-Id", "large")],
          body: Array(repeating: 0x78, count: 3 << 20))
        #expect(large.status == 413)
        #expect(try await line(gateway, of: "large")["status"] == 413)

        for secret in ["rootpw", "hunter2", "sesame", "value", token, "root:rootpw".base64] {
          #expect(!gateway.log.contains(secret), "\(secret)")
        }
        // One line for each request, and messages are such lines, too.
        for id in ["bad", "good", "login", "token", "wrong", "long", "large"] {
          #expect(try lines(gateway, of: id).count == 1, "\(id)")
        }
        let first = try JSON(parsing: Array(try #require(gateway.log.split(separator: "\n").first).utf8))
        #expect(first["message"]?.string?.contains("libmicrohttpd") == true)
      }
    }
  }

  private func streams(_ gateway: GatewayProcess, user: String) async throws {
    let create = #"{"create_request":{"key":"YQ=="}}"#
    let watch = try await JSONStream.open(
      gateway.url, "/v3/watch", create, user: user, headers: [("X-Request-Id", "watch")])
    _ = try #require(try await watch.next())
    let opened = try await line(gateway, of: "watch", "stream opened")
    #expect(opened["status"] == 200 && opened["transport"] == "http" && opened["user"] == "root")
    let put: JSON = ["key": "YQ==", "value": "MQ=="]
    #expect(try await gateway.http.post("/v3/kv/put", put, user: user).status == 200)
    _ = try #require(try await watch.next())
    await watch.close()
    let closed = try await line(gateway, of: "watch", "stream closed")
    #expect(closed["route"] == "/v3/watch" && closed["path"] == "/v3/watch" && closed["code"] == "Canceled")
    #expect(closed["messages_in"] == 1 && closed["messages_out"] == 2 && closed["bytes_out"]?.number ?? 0 > 100)

    let socket = try await WebSocketClient.connect(
      gateway.url, "/v3/watch", user: user, headers: [("X-Request-Id", "socket")])
    try await socket.send(create)
    _ = try await socket.receiveJSON()
    try await socket.send("}")
    _ = try await socket.receiveClose()
    await socket.close()
    let handshake = try await line(gateway, of: "socket", "stream opened")
    #expect(handshake["status"] == 101 && handshake["transport"] == "websocket")
    let end = try await line(gateway, of: "socket", "stream closed")
    #expect(end["code"] == "InvalidArgument" && end["messages_in"] == 1, "\(end)")
    #expect(try lines(gateway, of: "watch").count == 2 && lines(gateway, of: "socket").count == 2)

    // A stream that was never opened is logged as an ordinary request.
    let refused = try await gateway.http.post("/v3/watch", "}", user: user, headers: [("X-Request-Id", "refused")])
    #expect(refused.status == 400)
    #expect(try await line(gateway, of: "refused")["transport"] == nil)
  }

  @Test func slowOnesAndErrorsAreALineOfText() async throws {
    let flags = ["--access-log", "slow", "--slow-request", "1h", "--shards", "1"]
    try await withGateway(["http://127.0.0.1:1"], flags) { gateway in
      for id in ["a", "b=\"c"] {
        #expect(try await gateway.http.get("/livez", headers: [("X-Request-Id", "fast")]).status == 200)
        #expect(try await gateway.http.get("/nope", headers: [("X-Request-Id", id)]).status == 404)
      }
      try await gateway.expectLogged(
        #" info request request_id="b=\"c" method=GET route=none path=/nope peer=127.0.0.1 status=404 code=NotFound seconds="#
      )
      #expect(gateway.log.contains(" request_id=a "))
      #expect(!gateway.log.contains("fast"))
    }
  }

  @Test func nothingIsLoggedUnlessAskedFor() async throws {
    try await withGateway(["http://127.0.0.1:1"], ["--shards", "1"]) { gateway in
      #expect(try await gateway.http.get("/nope").status == 404)
      try await gateway.stop()
      #expect(!gateway.log.contains("/nope") && !gateway.log.contains("request_id"))
    }
    for flags in [["--access-log", "some"], ["--log-format", "xml"], ["--slow-request", "never"]] {
      try await CommandRun.etcdRest(["serve"] + flags).expectRefusal(naming: flags[0])
    }
  }

  /// Nothing reads standard error: requests go on, and lines that could not be written are counted and reported later.
  @Test func aStuckPipeStopsNoRequest() async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/pipe"
      try #require(mkfifo(path, 0o600) == 0)
      let pipe = open(path, O_RDWR | O_NONBLOCK)
      defer { close(pipe) }
      let gateway = try await ChildProcess.start(
        try GatewayProcess.program,
        ["serve", "--endpoints", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--shards", "1"]
          + ["--access-log", "all", "--log-format", "json"],
        output: "\(directory)/output", error: path)
      do {
        let url = try await eventually("line saying where etcd-rest is serving") { () -> String? in
          guard gateway.output.hasSuffix("\n") else { return nil }
          return gateway.output.dropLast().split(separator: " ").last.map(String.init)
        }
        let dropped = /etcd_rest_log_lines_dropped_total ([1-9][0-9.e+]*)/
        let http = try await HTTPConnection.connect(to: url)
        // Each line has 1,200 bytes and more.
        let target = "/nope/\(String(repeating: "x", count: 1000))"
        let count = try await eventually("dropped lines") { () -> Double? in
          for _ in 0..<200 { #expect(try await http.get(target).status == 404) }
          return try await http.get("/metrics").text.firstMatch(of: dropped).flatMap { Double($0.1) }
        }
        await http.close()
        var text = ""
        let note = try await eventually("a line about them") { () -> JSON? in
          var bytes = [UInt8](repeating: 0, count: 1 << 16)
          let size = read(pipe, &bytes, bytes.count)
          if size > 0 { text += String(decoding: bytes[..<size], as: UTF8.self) }
          guard text.hasSuffix("\n"),
            let line = text.split(separator: "\n").first(where: { $0.contains("were dropped") })
          else { return nil }
          return try JSON(parsing: Array(line.utf8))
        }
        #expect(note["lines"]?.number ?? 0 >= count)
        for line in text.split(separator: "\n") { _ = try JSON(parsing: Array(line.utf8)) }
        gateway.signal(SIGTERM)
        #expect(try await gateway.exit() == .code(0))
      } catch {
        await gateway.killAndWait()
        throw error
      }
    }
  }
}
