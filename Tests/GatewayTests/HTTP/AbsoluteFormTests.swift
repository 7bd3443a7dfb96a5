import TestSupport
import Testing

/// Request targets in absolute form (RFC 9112, section 3.2.2), from clients that take the gateway for a proxy.
@Suite(.timeLimit(.minutes(10)))
struct AbsoluteFormTests {
  private static let body = #"{"key":"YQ=="}"#

  private func post(_ url: String, host: String, at gateway: GatewayProcess) async throws -> HTTPResponse {
    let connection = try await HTTPConnection.connect(to: gateway.url)
    try await connection.send(
      "POST \(url) HTTP/1.1\r\nHost: \(host)\r\nContent-Length: \(Self.body.utf8.count)\r\n\r\n\(Self.body)")
    let response = try await connection.receive()
    await connection.close()
    return response
  }

  @Test func aRequestWithABodyIsServed() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      try await etcd.put("a", "1")
      let authority = gateway.authority
      for url in ["http://\(authority)/v3/kv/range", "HTTP://localhost/v3/kv/range", "https://[::1]:1/v3/kv/range?a=b"]
      {
        let response = try await post(url, host: authority, at: gateway)
        expectStatus(200, response)
        #expect(try response.json["kvs"]?[0]?["value"]?.string == "1".base64)
      }
    }
  }

  /// The target's host counts, whatever `Host` says.
  @Test func theTargetDecidesWhoseNameItIs() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let authority = gateway.authority
      let rebound = try await post("http://rebound.example/v3/kv/range", host: authority, at: gateway)
      expectError(rebound, 421, code: 7, "another name in the target")
      expectStatus(200, try await post("http://\(authority)/v3/kv/range", host: "rebound.example", at: gateway))
      expectError(
        try await post("/v3/kv/range", host: "rebound.example", at: gateway), 421, code: 7, "another name in Host")
    }
  }
}
