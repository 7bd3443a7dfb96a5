import EtcdSchema
import TestSupport
import Testing

/// Peers that break the rules of HTTP/2: the connection is dropped at once, and its calls continue by the rules.
/// nghttp2 answers most of these with a GOAWAY and no error.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct UpstreamViolationTests {
  private static let key: JSON = ["key": .string("a".base64)]

  /// A violation while a put and a read are under way, and PINGs are still answered: if the gateway did nothing, both
  /// would wait for their deadlines.
  @Test(arguments: Http2Violation.all.indices)
  func endsTheConnection(index: Int) async throws {
    let violation = Http2Violation.all[index]
    try await withScriptedEtcd(script: { call in
      if call.path == RPCPath.put { return call.attempt == 1 ? .hang : .put }
      return call.attempt == 1 ? [.rawOnStream(violation.bytes)] : .range
    }) { peer, gateway in
      let http = gateway.http
      async let put = http.post("/v3/kv/put", Self.key, headers: [("Request-Timeout", "60")])
      try await peer.wait(for: "the put") { !$0.streams(of: RPCPath.put).isEmpty }
      let range = try await http.post("/v3/kv/range", Self.key, headers: [("Request-Timeout", "60")])
      // Headers without end: some versions of nghttp2 end the connection before the gateway ends the call.
      let isCallAlone = violation.name == Http2Violation.endlessHeaders && range.status == 502
      #expect(isCallAlone || range.status == 200, "\(violation.name): \(range)")
      let failed = try await put
      expectError(failed, 503, code: 14)
      #expect(failed.message?.hasSuffix("; the call may have been executed") == true, "\(violation.name): \(failed)")
      expectStatus(200, try await http.post("/v3/kv/put", Self.key))
      #expect(peer.record.streams(of: RPCPath.range).count == (isCallAlone ? 1 : 2), "\(violation.name)")
      #expect(peer.record.streams(of: RPCPath.put).count == 2, "\(violation.name)")
    }
  }

  /// A read that meets nothing else is sent twice, and no more often.
  @Test(arguments: [0, 11])
  func isNotAskedForWithoutEnd(index: Int) async throws {
    let violation = Http2Violation.all[index]
    try await withScriptedEtcd(script: { _ in [.rawOnStream(violation.bytes)] }) { peer, gateway in
      let range = try await gateway.http.post("/v3/kv/range", Self.key)
      expectError(range, 503, code: 14)
      #expect(range.message?.contains("the peer violated the HTTP/2 protocol") == true, "\(range)")
      #expect(peer.record.streams(of: RPCPath.range).count == 2)
    }
  }
}
