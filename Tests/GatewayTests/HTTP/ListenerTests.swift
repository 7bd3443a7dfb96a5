import EventLoop
import Foundation
import Glibc
import TestSupport
import Testing

/// Several addresses side by side, of all kinds.
@Suite(.timeLimit(.minutes(15)))
struct ListenerTests {
  private static let nowhere = ["http://127.0.0.1:1"]

  @Test func manyAddressesAreServedSideBySide() async throws {
    try await withTemporaryDirectory { directory in
      let socket = "unix://\(directory)/socket"
      let more = ["--listen", "http://127.0.0.1:0, localhost:0", "--listen", socket, "--listen", "[::1]:0"]
      try await withSecureGateway(Self.nowhere, more) { secure in
        let urls = secure.gateway.urls
        let schemes = urls.map { $0.prefix { $0 != ":" } }
        #expect(schemes == ["http", "https", "http", "http", "unix", "http"])
        #expect(urls[3].hasPrefix("http://localhost:") && urls[5].hasPrefix("http://[::1]:"))
        #expect(Set(urls).count == urls.count && !urls.contains { $0.hasSuffix(":0") })
        for url in urls { #expect(try await HTTPClient(url).get("/livez").status == 200, "\(url)") }
        // A name stands for all of its addresses, at the same port.
        let port = try #require(urls[3].split(separator: ":").last.flatMap { UInt16($0) })
        for address in SocketAddress.resolve(host: "localhost", port: port) {
          let host = address.family == AF_INET6 ? "[::1]" : "127.0.0.1"
          #expect(try await HTTPClient("http://\(host):\(port)").get("/livez").status == 200, "\(host)")
        }
      }
    }
  }

  @Test func theEnvironmentTakesAListToo() async throws {
    try await withTemporaryDirectory { directory in
      let environment = ["ETCD_REST_LISTEN": "127.0.0.1:0,unix://\(directory)/socket"]
      let serve = [try GatewayProcess.program, "serve", "--endpoints", Self.nowhere[0]]
      try await withServing(serve, environment: environment) { process, http in
        let response = try await http.get("/livez")
        #expect(response.status == 200)
        #expect(process.output.contains(", unix://\(directory)/socket\n"))
      }
    }
  }

  @Test func noHostIsAllAddresses() async throws {
    try await withGateway(Self.nowhere, ["--listen", "127.0.0.1:0,:0"]) { gateway in
      #expect(gateway.urls[1].hasPrefix("http://0.0.0.0:"))
      #expect(gateway.urls[2].hasPrefix("http://[::]:"))
      let port = try #require(gateway.urls[1].split(separator: ":").last)
      #expect(gateway.urls[2].hasSuffix(":\(port)"))
      for host in ["127.0.0.1", "[::1]"] {
        #expect(try await HTTPClient("http://\(host):\(port)").get("/livez").status == 200, "\(host)")
      }
    }
  }

  @Test(arguments: ["unix://relative", "unix:///", "ftp://127.0.0.1:0", "https://127.0.0.1", "127.0.0.1:0,", "a/b:1"])
  func whatIsNoAddressIsOneClearLine(_ address: String) async throws {
    try await CommandRun.etcdRest("serve", "--listen", address).expectRefusal(naming: address)
  }

  // MARK: - Unix sockets

  private func socket(_ gateway: GatewayProcess) throws -> String { try #require(gateway.urls.last) }

  @Test func aUnixSocketServesStreamsAndWebSocketsAndIsRemoved() async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/socket"
      try await withEtcd(.v3_5) { etcd in
        try await withGateway([etcd.url], ["--listen", "127.0.0.1:0,unix://\(path)"]) { gateway in
          let url = try socket(gateway)
          let body = [UInt8](repeating: 65, count: 200_000)
          let put: JSON = ["key": "Yg==", "value": .string(Data(body).base64EncodedString())]
          #expect(try await HTTPClient(url).post("/v3/kv/put", put).status == 200)
          let range = try await HTTPClient(url).post("/v3/kv/range", ["key": "Yg=="])
          #expect(range.body.count > 260_000)
          let watch = try await JSONStream.open(url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
          #expect(try await watch.next() != nil)
          let socket = try await WebSocketClient.connect(url, "/v3/kv/put")
          try await socket.send(["key": "YQ==", "value": "MQ=="])
          #expect(try await socket.receiveJSON()["header"] != nil)
          #expect(try await watch.next() != nil)
          // A client that disconnects is noticed.
          await watch.connection.close()
          try await etcd.awaitWatchers(0)
          // With curl's option.
          let curl = try await CommandRun.run(
            "/usr/bin/curl", ["-sf", "--unix-socket", path, "http://localhost/v3/kv/range", "-d", #"{"key":"YQ=="}"#])
          #expect(curl.exit == .code(0) && curl.output.contains(#""value":"MQ==""#), "\(curl)")
          #expect(access(path, F_OK) == 0)
        }
        #expect(access(path, F_OK) != 0)
      }
    }
  }

  @Test func aSocketThatIsServedIsRefusedAndOneLeftBehindIsReplaced() async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/socket"
      let flags = ["--listen", "127.0.0.1:0,unix://\(path)"]
      try await withGateway(Self.nowhere, flags) { first in
        try await CommandRun.etcdRest(["serve"] + flags)
          .expectRefusal(naming: "another process serves this socket")
        #expect(try await HTTPClient(try socket(first)).get("/livez").status == 200)
      }
      // As a killed process leaves it.
      let serve = [try GatewayProcess.program, "serve", "--endpoints", Self.nowhere[0]]
      try await withServing(serve + flags) { process, http in
        let response = try await http.get("/livez")
        #expect(response.status == 200)
        await process.killAndWait()
      }
      #expect(access(path, F_OK) == 0)
      try await withGateway(Self.nowhere, flags) { gateway in
        #expect(try await HTTPClient(try socket(gateway)).get("/livez").status == 200)
        // If another file has replaced it, the gateway must not remove that.
        try #require(unlink(path) == 0)
        try "theirs".write(toFile: path, atomically: true, encoding: .utf8)
      }
      #expect(try String(contentsOfFile: path, encoding: .utf8) == "theirs")
      try await CommandRun.etcdRest(["serve"] + flags).expectRefusal(naming: "is not a socket")
    }
  }

  /// The mode follows the umask, like that of any file.
  @Test func theModeIsTheUmasks() async throws {
    try await withTemporaryDirectory { directory in
      let program = try GatewayProcess.program
      let listen = "127.0.0.1:0,unix://\(directory)/socket"
      let line = "umask 007; exec \(program) serve --listen \(listen) --endpoints \(Self.nowhere[0])"
      try await withServing(["/bin/sh", "-c", line]) { _, http in
        #expect(try await http.get("/livez").status == 200)
        var status = stat()
        try #require(stat("\(directory)/socket", &status) == 0)
        #expect(status.st_mode & 0o777 == 0o770)
      }
    }
  }

  /// All clients of a socket's file count as one peer.
  @Test func guessesOverAUnixSocketAreThrottledTogether() async throws {
    try await withTemporaryDirectory { directory in
      let flags = ["--listen", "127.0.0.1:0,unix://\(directory)/socket", "--max-login-failures", "1"]
      try await withAuth(.v3_5, gateway: flags) { _, gateway in
        let http = HTTPClient(try socket(gateway))
        var statuses: [Int] = []
        // One failure is forgiven each second: on a busy machine the second guess may not be too many.
        while statuses.count < 60 && statuses.last != 429 {
          let user = "u\(statuses.count):x"
          statuses.append(try await http.post("/v3/kv/range", ["key": "YQ=="], user: user).status)
        }
        #expect(statuses.first == 401 && statuses.last == 429, "\(statuses)")
      }
    }
  }

  // MARK: - Limits

  @Test func allAddressesShareTheLimitOfConnections() async throws {
    try await withTemporaryDirectory { directory in
      let flags = ["--listen", "127.0.0.1:0,unix://\(directory)/socket", "--shards", "1", "--max-connections", "2"]
      try await withGateway(Self.nowhere, flags) { gateway in
        let first = try await HTTPConnection.connect(to: gateway.url)
        let second = try await HTTPConnection.connect(to: try socket(gateway))
        for connection in [first, second] { #expect(try await connection.request("GET", "/livez").status == 200) }
        let third = try await HTTPConnection.connect(to: try socket(gateway))
        try await third.sendRequest("GET", "/livez")
        #expect(try await first.request("GET", "/livez").status == 200)
        await #expect(throws: HTTPFailure.timedOut) { _ = try await third.receiveHead(timeout: .milliseconds(1)) }
        await first.close()
        #expect(try await third.receive().status == 200)
      }
    }
  }
}
