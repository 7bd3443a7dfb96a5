import TestSupport
import Testing

/// What connections cost that clients keep for later.
@Suite(.timeLimit(.minutes(15)))
struct IdleConnectionTests {
  /// libmicrohttpd's memory of a connection has 32 KiB, and each request touches all of it.
  private static let most = 12 << 10

  @Test func anIdleConnectionGivesItsMemoryBack() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1", "--idle-timeout", "1h"]) { _, gateway in
      #expect(try await gateway.http.get("/livez").status == 200)
      let before = gateway.process.residentBytes
      var connections: [HTTPConnection] = []
      for _ in 0..<500 { connections.append(try await HTTPConnection.connect(to: gateway.url)) }
      // More than once, as it is used again then.
      for _ in 0..<2 {
        for connection in connections {
          try await connection.sendRequest("GET", "/livez")
          #expect(try await connection.receive().status == 200)
        }
        _ = try await eventually("less than 12 KiB a connection", every: .milliseconds(100)) {
          gateway.process.residentBytes - before < connections.count * Self.most ? true : nil
        }
      }
      // Nor is anything lost that comes bit by bit.
      let connection = try #require(connections.first)
      try await connection.send("POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Le")
      #expect(try await gateway.http.get("/livez").status == 200)
      try await connection.send("ngth: 14\r\n\r\n{\"key\":\"YQ==\"}")
      #expect(try await connection.receive().status == 200)
    }
  }
}
