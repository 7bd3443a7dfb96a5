import Foundation
import GrpcBridge
import TestSupport
import Testing

/// The handling of `traceparent` and `tracestate` (W3C Trace Context).
@Suite(.timeLimit(.minutes(15))) struct TraceContextTests {
  private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
  private static let sampled = "00-\(traceID)-00f067aa0ba902b7-01"
  private static let unsampled = "00-\(traceID)-00f067aa0ba902b7-00"

  private func context(_ parent: String, _ state: String = "") -> TraceContext? {
    TraceContext(parent: parent.utf8, state: state.utf8)
  }

  @Test func whatIsWellFormed() throws {
    #expect(try #require(context(Self.sampled)).isSampled)
    #expect(try #require(context(Self.unsampled)).isSampled == false)
    #expect(try #require(context(Self.sampled)).traceID == Self.traceID)
    #expect(context("cc" + Self.sampled.dropFirst(2) + "-what-comes-later") != nil)
    #expect(context("cc" + Self.sampled.dropFirst(2)) != nil)
  }

  private static let malformed: [String] = {
    let rest = String(sampled.dropFirst(2))
    let none = String(repeating: "0", count: 32)
    return [
      "", "00", String(sampled.dropLast()), sampled + "-more", sampled + "1", sampled.uppercased(), "ff" + rest,
      "0g" + rest, "cc" + rest + "x", "cc" + rest + "-\r\n", "00-\(none)-00f067aa0ba902b7-01",
      "00-\(traceID)-0000000000000000-01", sampled.replacing("-", with: "_"), "00-\(traceID)-00f067aa0ba902b7-0x",
      "cc" + rest + "-" + String(repeating: "a", count: 4096),
    ]
  }()

  @Test(arguments: malformed)
  func whatIsNot(_ parent: String) {
    #expect(context(parent) == nil)
  }

  @Test func everyCallOfARequestHasIt() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { peer, gateway in
      let http = gateway.http
      let body = Array(#"{"key":"YQ=="}"#.utf8)
      let headers = [("traceparent", Self.unsampled), ("tracestate", "a=1"), ("TraceState", "b=2")]
      expectStatus(200, try await http.request("POST", "/v3/kv/range", headers: headers, body: body))
      let stream = try #require(peer.record.streams(of: RPCPath.range).last)
      #expect(stream.headers["traceparent"] == Self.unsampled)
      #expect(stream.headers["tracestate"] == "a=1,b=2")

      for ignored in [
        [("traceparent", "00-x")], [("traceparent", Self.sampled), ("traceparent", Self.sampled)],
        [("tracestate", "a=1")],
      ] {
        expectStatus(200, try await http.request("POST", "/v3/kv/range", headers: ignored, body: body))
        let stream = try #require(peer.record.streams(of: RPCPath.range).last)
        #expect(stream.headers["traceparent"] == nil && stream.headers["tracestate"] == nil, "\(ignored)")
      }
      let long = [("traceparent", Self.sampled), ("tracestate", "a=" + String(repeating: "1", count: 511))]
      expectStatus(200, try await http.request("POST", "/v3/kv/range", headers: long, body: body))
      let last = try #require(peer.record.streams(of: RPCPath.range).last)
      #expect(last.headers["traceparent"] == Self.sampled && last.headers["tracestate"] == nil)
    }
  }

  /// A client that records its trace finds its own call in it, and not a call for many clients.
  @Test func aReadOfARecordedTraceTravelsAlone() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let count = 40
      func reads(_ parent: String) async throws -> (travelled: Double, all: Int) {
        let before = try await travelled(gateway)
        try await withThrowingTaskGroup { group in
          for number in 0..<count {
            group.addTask {
              let body = Array(#"{"key":"\#("k\(number)".base64)"}"#.utf8)
              let headers = [("traceparent", parent)]
              expectStatus(
                200, try await gateway.http.request("POST", "/v3/kv/range", headers: headers, body: body))
            }
          }
          try await group.waitForAll()
        }
        return (try await travelled(gateway) - before, count)
      }
      #expect(try await reads(Self.sampled).travelled == 0)
      // How many of the others share a batch depends on when they come; at some time some do.
      _ = try await eventually("reads that travel together") {
        try await reads(Self.unsampled).travelled > 0 ? true : nil
      }
    }
  }

  /// How many reads have shared a batch so far.
  private func travelled(_ gateway: GatewayProcess) async throws -> Double {
    let text = try await gateway.http.get("/metrics").text
    let line = text.split(separator: "\n").first { $0.hasPrefix("etcd_rest_batched_reads_total ") }
    return try #require(line.flatMap { Double($0.split(separator: " ")[1]) }, "\(text)")
  }

  /// etcd 3.5 sends the spans of a recorded trace to a collector (OTLP over gRPC), as which the test acts.
  @Test func spansOfEtcdAreInTheTrace() async throws {
    let collector = try ScriptedPeer { _ in .message([]) }
    let address = String(collector.endpoint.dropFirst("http://".count))
    let flags = [
      "--experimental-enable-distributed-tracing", "--experimental-distributed-tracing-address=\(address)",
      "--experimental-distributed-tracing-sampling-rate=0",
    ]
    try await withEtcd(.v3_5, flags) { etcd in
      try await withGateway([etcd.url]) { gateway in
        let body = Array(#"{"key":"YQ=="}"#.utf8)
        let headers = [("traceparent", Self.sampled)]
        expectStatus(200, try await gateway.http.request("POST", "/v3/kv/range", headers: headers, body: body))
      }
      let id = stride(from: 0, to: 32, by: 2).map { index in
        UInt8(Self.traceID.dropFirst(index).prefix(2), radix: 16) ?? 0
      }
      _ = try await eventually("spans of the trace") {
        collector.record.streams.contains { $0.messages.contains { $0.firstIndex(of: id) != nil } } ? true : nil
      }
    }
  }
}
