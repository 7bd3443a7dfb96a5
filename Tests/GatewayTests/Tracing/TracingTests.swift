import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Spans, as a collector gets them (`--otlp-endpoint`).
@Suite(.timeLimit(.minutes(15))) struct TracingTests {
  private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
  private static let sampled = "00-\(traceID)-00f067aa0ba902b7-01"
  private static let unsampled = "00-\(traceID)-00f067aa0ba902b7-00"

  private func withCollector(
    _ collector: Collector, _ flags: [String] = [],
    script: @escaping ScriptedPeer.Script = { $0.path == RPCPath.put ? .put : .range },
    body: (ScriptedPeer, GatewayProcess) async throws -> Void
  ) async throws {
    defer { collector.stop() }
    try await withScriptedEtcd(
      gateway: ["--otlp-endpoint", collector.url] + flags, script: script, body: body)
  }

  /// The trace and the span of a `traceparent`, and whether it is recorded.
  private func parts(_ parent: String?) throws -> (trace: String, span: String, flags: String) {
    let parts = try #require(parent?.split(separator: "-").map(String.init))
    #expect(parts.count == 4 && parts[0] == "00" && parts[1].count == 32 && parts[2].count == 16)
    return (parts[1], parts[2], parts[3])
  }

  @Test func aRequestAndItsCallAreSpansOfOneTrace() async throws {
    let collector = try Collector()
    try await withCollector(collector) { peer, gateway in
      let before = Int64(Date().timeIntervalSince1970 * 1e9)
      let answer = try await gateway.http.request(
        "PUT", "/keys/verborgen?lease=0", user: "geheim:passwort", headers: [("User-Agent", "spion")],
        body: Array("inhalt".utf8))
      expectStatus(200, answer)
      let told = try parts(answer[header: "traceparent"])
      #expect(told.flags == "01")
      let sent = try parts(peer.record.streams(of: RPCPath.put).last?.headers["traceparent"])
      #expect(sent.trace == told.trace && sent.span != told.span && sent.flags == "01")

      let spans = try await collector.spans(2)
      #expect(spans.count == 2, "the login has none: \(spans)")
      let request = try #require(spans.first { $0.kind == 2 })
      let call = try #require(spans.first { $0.kind == 3 })
      #expect(request.trace == told.trace && request.id == told.span && request.parent == nil)
      #expect(call.trace == told.trace && call.id == sent.span && call.parent == told.span)
      #expect(request.name == "PUT /keys/{key}" && !request.isError)
      #expect(
        request.attributes == [
          "http.request.method": "PUT", "http.route": "/keys/{key}", "http.response.status_code": "200",
          "url.scheme": gateway.url.hasPrefix("https") ? "https" : "http", "network.protocol.version": "1.1",
          "client.address": "127.0.0.1",
        ])
      #expect(call.name == "etcdserverpb.KV/Put" && !call.isError)
      #expect(call.attributes["rpc.grpc.status_code"] == "0" && call.attributes["server.address"] == "127.0.0.1")
      #expect(call.attributes["server.port"] == "\(peer.port)")
      #expect(before <= request.start && request.start <= call.start && call.end <= request.end)
      #expect(request.end <= Int64(Date().timeIntervalSince1970 * 1e9))
      #expect(request.resource["service.name"] == "etcd-rest" && request.resource["service.version"]?.isEmpty == false)
      #expect(
        request.resource["service.instance.id"]?.wholeMatch(of: /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/) != nil)

      let export = try #require(collector.requests.first)
      #expect(export.head.hasPrefix("POST /v1/traces HTTP/1.1\r\n"))
      #expect(export.head.contains("\r\nContent-Type: application/json\r\n"))
      let text = String(decoding: export.body, as: UTF8.self)
      for secret in ["verborgen", "geheim", "passwort", "inhalt", "spion", "lease"] {
        #expect(!text.contains(secret), "\(text)")
      }
    }
  }

  @Test func aClientsTraceGoesOnAsItIs() async throws {
    let collector = try Collector()
    try await withCollector(collector) { peer, gateway in
      let headers = [("traceparent", Self.sampled), ("tracestate", "a=1")]
      let answer = try await gateway.http.get("/keys/a", headers: headers)
      let told = try parts(answer[header: "traceparent"])
      #expect(told.trace == Self.traceID && told.span != "00f067aa0ba902b7" && told.flags == "01")
      let stream = try #require(peer.record.streams(of: RPCPath.range).last)
      #expect(try parts(stream.headers["traceparent"]).trace == Self.traceID)
      #expect(stream.headers["tracestate"] == "a=1")

      // A request that its client does not record costs no span, and its context is passed on unchanged.
      let other = try await gateway.http.get("/keys/b", headers: [("traceparent", Self.unsampled)])
      #expect(other[header: "traceparent"] == Self.unsampled)
      #expect(peer.record.streams(of: RPCPath.range).last?.headers["traceparent"] == Self.unsampled)

      expectStatus(404, try await gateway.http.get("/nowhere"))
      let spans = try await collector.spans(3)
      let request = try #require(spans.first { $0.name == "GET /keys/{key}" })
      #expect(request.trace == Self.traceID && request.parent == "00f067aa0ba902b7")
      // The last one had no route.
      let last = try #require(spans.first { $0.name == "GET" })
      #expect(last.attributes["http.route"] == nil && last.attributes["http.response.status_code"] == "404")
      #expect(spans.count == 3 && !last.isError, "\(spans)")
    }
  }

  @Test func whatIsNotSampledIsPassedOnAsSuch() async throws {
    let collector = try Collector()
    try await withCollector(collector, ["--otlp-sample-ratio", "0"]) { peer, gateway in
      let answer = try await gateway.http.request("PUT", "/keys/a", body: [1])
      #expect(try parts(answer[header: "traceparent"]).flags == "00")
      #expect(peer.record.streams(of: RPCPath.put).last?.headers["traceparent"] == answer[header: "traceparent"])
      // A client's decision takes precedence.
      _ = try await gateway.http.request("PUT", "/keys/b", headers: [("traceparent", Self.sampled)], body: [1])
      let spans = try await collector.spans(2)
      #expect(spans.count == 2 && spans.allSatisfy { $0.trace == Self.traceID })
    }
  }

  @Test func aShareOfTheTracesIsRecorded() async throws {
    let collector = try Collector()
    try await withCollector(collector, ["--otlp-sample-ratio", "0.5"]) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      var recorded: Set<String> = []
      for _ in 0..<100 {
        let told = try parts(try await connection.request("GET", "/livez")[header: "traceparent"])
        if told.flags == "01" { recorded.insert(told.trace) }
      }
      await connection.close()
      // The probability that it is none or all is 2 to the power of -99.
      #expect((1..<100).contains(recorded.count))
      #expect(Set(try await collector.spans(recorded.count).map(\.trace)) == recorded)
    }
  }

  @Test func withoutACollectorTheClientsOwnIsReturned() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { _, gateway in
      let answer = try await gateway.http.get("/keys/a", headers: [("traceparent", Self.sampled)])
      #expect(answer[header: "traceparent"] == Self.sampled)
      #expect(try await gateway.http.get("/keys/a")[header: "traceparent"] == nil)
      #expect(try await !gateway.http.get("/metrics").text.contains("\netcd_rest_spans_exported_total "))
    }
  }

  @Test func failuresAreErrors() async throws {
    let collector = try Collector()
    try await withCollector(collector, script: { _ in .failure(13, "broken") }) { _, gateway in
      expectStatus(500, try await gateway.http.request("PUT", "/keys/a", body: [1]))
      let spans = try await collector.spans(2)
      #expect(spans.allSatisfy { $0.isError })
      #expect(Set(spans.compactMap { $0.attributes["error.type"] }) == ["500", "Internal"])
      #expect(spans.contains { $0.attributes["rpc.grpc.status_code"] == "13" })
    }
  }

  /// Each attempt is a span of its own, with the member that it went to.
  @Test func aCallThatIsRepeatedHasSpansOfItsOwn() async throws {
    let collector = try Collector()
    try await withCollector(
      collector, script: { $0.attempt == 1 ? .failure(14, "etcdserver: no leader") : .range }
    ) { peer, gateway in
      expectStatus(404, try await gateway.http.get("/keys/a", headers: [("traceparent", Self.sampled)]))
      let spans = try await collector.spans(3)
      let calls = spans.filter { $0.kind == 3 }
      #expect(calls.count == 2 && calls.map(\.isError) == [true, false], "\(spans)")
      let sent = try peer.record.streams(of: RPCPath.range).map { try parts($0.headers["traceparent"]).span }
      #expect(sent == calls.map(\.id))
    }
  }

  @Test func aStreamsSpanEndsWithIt() async throws {
    let collector = try Collector()
    defer { collector.stop() }
    try await withEtcdAndGateway(.v3_5, gateway: ["--otlp-endpoint", collector.url]) { _, gateway in
      expectStatus(200, try await gateway.http.get("/snapshot"))
      let snapshot = try await collector.spans(2) { $0.name.contains("napshot") }
      #expect(Set(snapshot.map(\.name)) == ["GET /snapshot", "etcdserverpb.Maintenance/Snapshot"])
      #expect(snapshot[0].trace == snapshot[1].trace)

      let watch = try await JSONStream.open(gateway.url, "/v3/watch", #"{"create_request":{"key":"YQ=="}}"#)
      _ = try #require(try await watch.next())
      #expect(!collector.spans.contains { $0.name == "POST /v3/watch" })
      await watch.connection.close()
      let span = try await collector.spans(1) { $0.name == "POST /v3/watch" }[0]
      #expect(span.attributes["http.response.status_code"] == "200" && !span.isError)
      #expect(span.attributes["rpc.grpc.status_code"] == "1")

      let socket = try await WebSocketClient.connect(gateway.url, "/v3/kv/range", headers: [])
      try await socket.send(#"{"key":"YQ=="}"#)
      _ = try await socket.receive()
      await socket.close()
      let upgraded = try await collector.spans(1) { $0.attributes["http.response.status_code"] == "101" }[0]
      let call = try await collector.spans(1) { $0.parent == upgraded.id }[0]
      #expect(call.name == "etcdserverpb.KV/Range" && call.trace == upgraded.trace)
    }
  }

  /// etcd 3.5 sends its own spans to a collector (OTLP over gRPC): the call's span is their parent.
  @Test func spansOfEtcdAreBelowThatOfTheCall() async throws {
    let ofEtcd = try ScriptedPeer { _ in .message([]) }
    let collector = try Collector()
    defer { collector.stop() }
    let flags = [
      "--experimental-enable-distributed-tracing",
      "--experimental-distributed-tracing-address=\(ofEtcd.endpoint.dropFirst("http://".count))",
      "--experimental-distributed-tracing-sampling-rate=0",
    ]
    try await withEtcdAndGateway(.v3_5, etcd: flags, gateway: ["--otlp-endpoint", collector.url]) { _, gateway in
      expectStatus(200, try await gateway.http.request("PUT", "/keys/a", body: [1]))
      let call = try await collector.spans(1) { $0.name == "etcdserverpb.KV/Put" }[0]
      // The parent of a span in protobuf: field 4, of 8 bytes.
      let parent =
        [0x22, 8] + stride(from: 0, to: 16, by: 2).map { UInt8(call.id.dropFirst($0).prefix(2), radix: 16) ?? 0 }
      _ = try await eventually("a span of etcd's below the call") {
        ofEtcd.record.streams.contains { $0.messages.contains { $0.firstIndex(of: parent) != nil } } ? true : nil
      }
    }
  }

  /// Reads whose traces begin here share a batch, and their span says so.
  @Test func readsThatTravelTogetherSaySo() async throws {
    let collector = try Collector()
    defer { collector.stop() }
    try await withEtcdAndGateway(.v3_5, gateway: ["--otlp-endpoint", collector.url, "--shards", "1"]) { _, gateway in
      let together = try await eventually("reads that travel together") { () -> [CollectedSpan]? in
        try await withThrowingTaskGroup { group in
          for number in 0..<40 { group.addTask { _ = try await gateway.http.get("/keys/k\(number)") } }
          try await group.waitForAll()
        }
        let found = collector.spans.filter { $0.attributes["etcd_rest.batch.reads"] != nil }
        return found.isEmpty ? nil : found
      }
      for span in together {
        #expect(span.name == "etcdserverpb.KV/Txn" || span.name == "etcdserverpb.KV/Range")
        #expect(span.kind == 3 && span.attributes["rpc.grpc.status_code"] == "0")
      }
      _ = try await eventually("spans of their requests") { () -> Bool? in
        let requests = Set(collector.spans.filter { $0.kind == 2 }.map(\.id))
        return together.allSatisfy { $0.parent.map(requests.contains) == true } ? true : nil
      }
    }
  }
}
