import Foundation
import TLS
import TestSupport
import Testing

/// The limits of clients' connections, and what happens beyond them.
@Suite(.timeLimit(.minutes(15)))
struct ConnectionLimitTests {
  @Test func anAddressHasSoManyConnections() async throws {
    let arguments = ["--max-connections-per-address", "5", "--shards", "2"]
    try await withSecureGateway(["http://127.0.0.1:1"], arguments) { secure in
      var connections: [HTTPConnection] = []
      for index in 0..<5 {
        let connection = index < 2 ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
        #expect(try await connection.get("/livez").status == 200)
        connections.append(connection)
      }
      for _ in 0..<100 {
        let refused = try await HTTPConnection.connect(to: secure.plain)
        do {
          let response = try await refused.receive()
          expectError(response, 429, code: 8, "the sixth")
          #expect(response[header: "Retry-After"] == "1")
        } catch let failure as HTTPFailure where failure.isCut {
          // Not all of them have time to read the reason.
        }
        await refused.close()
      }
      let refusal = await #expect(throws: (any Error).self) { try await secure.connect().get("/livez") }
      #expect(refusal as? HTTPFailure != .timedOut)
      for connection in connections { #expect(try await connection.get("/livez").status == 200) }
      for connection in connections { await connection.close() }
      _ = try await eventually("room again") { () -> Bool? in
        (try? await HTTPConnection.connect(to: secure.plain).get("/livez"))?.status == 200 ? true : nil
      }
      try await secure.gateway.expectLogged("--max-connections-per-address")
    }
  }

  /// Other addresses, and Unix sockets, are not affected.
  @Test func othersHaveTheirOwn() async throws {
    try await withTemporaryDirectory { directory in
      let listen = ["--listen", "127.0.0.1:0,[::1]:0,unix://\(directory)/socket"]
      let arguments = listen + ["--max-connections-per-address", "1"]
      try await withGateway(["http://127.0.0.1:1"], arguments) { gateway in
        var connections: [HTTPConnection] = []
        for url in [gateway.urls[0], gateway.urls[1], gateway.urls[2], gateway.urls[2], gateway.urls[2]] {
          let connection = try await HTTPConnection.connect(to: url)
          #expect(try await connection.get("/livez").status == 200, "\(url)")
          connections.append(connection)
        }
        #expect(try await HTTPConnection.connect(to: gateway.url).receive().status == 429)
        for connection in connections { #expect(try await connection.get("/livez").status == 200) }
      }
    }
  }

  /// A stream's connection counts as long as the stream is open.
  @Test func streamsCount() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-connections-per-address", "2"]) { _, gateway in
      let body = #"{"create_request":{"key":"YQ=="}}"#
      let streams = [
        try await JSONStream.open(gateway.url, "/v3/watch", body),
        try await JSONStream.open(gateway.url, "/v3/watch", body),
      ]
      for stream in streams { #expect(try await stream.next() != nil) }
      #expect(try await HTTPConnection.connect(to: gateway.url).receive().status == 429)
      await streams[0].connection.close()
      _ = try await eventually("room again") { () -> Bool? in
        (try? await HTTPConnection.connect(to: gateway.url).get("/livez"))?.status == 200 ? true : nil
      }
    }
  }

  /// A place is free as soon as its connection is closed.
  @Test(arguments: [false, true]) func oneConnectionAfterTheOtherIsServed(_ overTLS: Bool) async throws {
    let arguments = ["--max-connections-per-address", "2", "--shards", "1"]
    try await withSecureGateway(["http://127.0.0.1:1"], arguments) { secure in
      for _ in 0..<50 {
        let connection = overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
        #expect(try await connection.get("/livez", headers: [("Connection", "close")]).status == 200)
        try await connection.receiveClose()
        await connection.close()
      }
    }
  }

  @Test func anAddressHasOneConnectionAtLeast() async throws {
    let arguments = ["serve", "--max-connections-per-address", "0"]
    try await CommandRun.etcdRest(arguments).expectRefusal(naming: "--max-connections-per-address")
  }

  /// Behind a proxy its clients count, not the proxy.
  @Test func clientsOfAProxyCountByThemselves() async throws {
    try await withProxiedGateway("proxy+http", ["--max-connections-per-address", "2"]) { port in
      func connect(from client: String) async throws -> HTTPConnection {
        let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
        try await connection.send("PROXY TCP4 \(client) 192.0.2.1 40000 80\r\n")
        return connection
      }
      var kept: [HTTPConnection] = []
      for _ in 0..<2 {
        let connection = try await connect(from: "198.51.100.7")
        #expect(try await connection.get("/livez").status == 200)
        kept.append(connection)
      }
      let third = try await connect(from: "198.51.100.7")
      #expect(try await third.receive().status == 429)
      let other = try await connect(from: "198.51.100.8")
      #expect(try await other.get("/livez").status == 200)
      for connection in kept { #expect(try await connection.get("/livez").status == 200) }
    }
  }

  /// Connections that are closed as soon as their header has named the client leave room for others.
  @Test func refusedClientsOfAProxyLeaveRoom() async throws {
    let arguments = [
      "--max-connections-per-address", "1", "--max-connections", "2", "--shards", "1", "--handshake-timeout", "1h",
    ]
    try await withProxiedGateway("proxy+https", arguments) { port in
      func connect(from client: String) async throws -> HTTPConnection {
        let connection = try await HTTPConnection.connect(to: "http://127.0.0.1:\(port)")
        try await connection.send("PROXY TCP4 \(client) 192.0.2.1 40000 80\r\n")
        return connection
      }
      let first = try await connect(from: "198.51.100.7")
      let second = try await connect(from: "198.51.100.7")
      try await second.receiveClose()
      let third = try await connect(from: "198.51.100.8")
      // A client that does not use TLS gets an answer where TLS is served.
      try await third.send("GET / HTTP/1.1\r\n\r\n")
      #expect(try await third.receive().status == 400)
      await first.close()
    }
  }

  /// Runs a gateway that listens behind a proxy on a port of this machine.
  private func withProxiedGateway(
    _ scheme: String, _ arguments: [String], _ body: (Int) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      let certificate = try TestAuthority(in: directory).issue("server")
      let flags = [
        "--listen", "127.0.0.1:0", "--listen", "\(scheme)://127.0.0.1:0", "--trusted-proxies", "127.0.0.1",
        "--tls-cert", certificate.certificate, "--tls-key", certificate.key,
      ]
      let needed = scheme.hasSuffix("s") ? flags : Array(flags.dropLast(4))
      try await withGateway(["http://127.0.0.1:1"], needed + arguments) { gateway in
        try await body(try #require(gateway.urls.last?.split(separator: ":").last.flatMap { Int($0) }))
      }
    }
  }

  /// Clients that request files and do not read them take no descriptors beside their connections.
  @Test func filesThatAreNotReadTakeNoDescriptors() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withDescriptors(200, etcd.url) { process, http in
        let url = http.url
        var unread: [HTTPConnection] = []
        for _ in 0..<80 {
          let connection = try await HTTPConnection.connect(to: url)
          await connection.setReceiveBuffer(bytes: 4096)
          try await connection.sendRequest("GET", "/docs/swagger-ui-bundle.js")
          #expect(try await connection.receiveHead().status == 200)
          unread.append(connection)
        }
        #expect(process.openDescriptors < 190, "\(process.openDescriptors) descriptors")
        // etcd can be dialled.
        #expect(try await http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
        for connection in unread { await connection.close() }
      }
    }
  }

  /// Runs a gateway that may have so many descriptors; over TLS, the task's connections to `https://` trust it.
  private func withDescriptors(
    _ count: Int, _ endpoint: String, overTLS: Bool = false, _ body: (ChildProcess, HTTPClient) async throws -> Void
  ) async throws {
    let program = try GatewayProcess.program
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let files = try authority.issue("server")
      var settings = TLSSettings(.client, verification: .required)
      settings.authorities = authority.certificate
      settings.protocols = ["http/1.1"]
      let secure = "https://127.0.0.1:0 --tls-cert \(files.certificate) --tls-key \(files.key)"
      let listen = overTLS ? secure : "127.0.0.1:0"
      let flags = "--listen \(listen) --handshake-timeout 10m --shards 1 --endpoints \(endpoint)"
      let command = ["/bin/sh", "-c", "ulimit -n \(count); exec \(program) serve \(flags)"]
      try await HTTPConnection.$tls.withValue(try TLSContext(settings)) {
        try await withServing(command) { process, http in try await body(process, http) }
      }
    }
  }

  /// More connections than there are descriptors: existing ones live on, etcd's among them, streams begin on them, the
  /// gateway does not spin, and all are served once there is room.
  @Test(arguments: [false, true]) func aFloodAtTheLimitOfDescriptors(_ overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withDescriptors(200, etcd.url, overTLS: overTLS) { process, http in
        let url = http.url
        let watch = try await JSONStream.open(url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
        #expect(try await watch.next() != nil)
        let kept = try await HTTPConnection.connect(to: url)
        #expect(try await kept.get("/readyz").status == 200)
        let later = try await HTTPConnection.connect(to: url)
        #expect(try await later.get("/livez").status == 200)
        var flood: [HTTPConnection] = []
        // A connection with TLS takes three descriptors once its handshake is done. Those beyond the limit are not
        // accepted, so that they have no handshake.
        for _ in 0..<(overTLS ? 20 : 0) { flood.append(try await HTTPConnection.connect(to: url)) }
        let plain = url.replacing("https://", with: "http://")
        for _ in 0..<400 { flood.append(try await HTTPConnection.connect(to: plain)) }
        _ = try await eventually("as many connections as may be") {
          process.openDescriptors > 80 ? true : nil
        }
        try await etcd.put("a", "1")
        #expect(try await watch.next()?["events"]?[0]?["kv"]?["value"]?.string == "1".base64)
        try await later.sendRequest("POST", "/v3/watch", body: Array(#"{"create_request":{"key":"Yg=="}}"#.utf8))
        #expect(try await later.receiveHead().status == 200)
        #expect(process.openDescriptors < 190)
        let before = process.processorTime
        try await Task.sleep(for: .seconds(2))
        // A gateway that spins takes all of a core.
        #expect(process.processorTime - before < .seconds(1), "the gateway spins")
        #expect(try await kept.get("/readyz").status == 200)
        // There is a descriptor for a new connection to etcd all the same.
        try await etcd.restart()
        _ = try await eventually("readiness beside the flood") {
          try await kept.get("/readyz").status == 200 ? true : nil
        }
        #expect(try await kept.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
        for connection in flood { await connection.close() }
        _ = try await eventually("room again") { () -> Bool? in
          (try? await HTTPConnection.connect(to: url).get("/readyz"))?.status == 200 ? true : nil
        }
        #expect(process.errorOutput.contains("limit of descriptors"))
      }
    }
  }

  /// Requests that break off at every byte, by an end or by a reset, leave nothing behind.
  @Test(arguments: [false, true]) func requestsThatBreakOffAnywhereLeaveNothing(_ overTLS: Bool) async throws {
    try await withEtcd(.v3_5) { etcd in
      try await withSecureGateway([etcd.url], ["--shards", "1"]) { secure in
        let request = Array(
          "POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n{\"key\":\"YQ==\"}".utf8)
        func come() async throws {
          for length in 0...request.count {
            for ending in 0..<3 {
              let connection =
                overTLS ? try await secure.connect() : try await HTTPConnection.connect(to: secure.plain)
              try await connection.send(Array(request[..<length]))
              switch ending {
              case 0: await connection.close()
              case 1: await connection.reset()
              default:
                await connection.finishSending()
                _ = try? await connection.receiveToEnd()
                await connection.close()
              }
            }
          }
        }
        func settled() async throws -> Int {
          try await secure.gateway.process.settledHolding(after: .seconds(3)).descriptors
        }
        try await come()
        let before = try await settled()
        try await come()
        let after = try await settled()
        #expect(after <= before, "\(before) descriptors became \(after)")
        #expect(try await HTTPClient(secure.plain).get("/readyz").status == 200)
      }
    }
  }
}
