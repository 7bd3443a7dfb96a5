import EtcdSchema
import EventLoop
import Foundation
import HTTPServer
import TestSupport
import Testing

@testable import Gateway
@testable import GrpcBridge

/// The text of exports, and of a collector's answers, without a collector.
@Suite struct SpanEncoderTests {
  private static let encoder = SpanEncoder(epoch: 1_800_000_000_000_000_000, instance: "me")

  private func json(_ spans: [Span]) throws -> JSON {
    try JSON(parsing: Self.encoder.encode(spans).withUnsafeBytes { Array($0) })
  }

  private func call(_ endpoint: String, _ code: GRPCCode = .ok, reads: Int = 0) throws -> Span {
    let end = CallEnd(
      EtcdRPC.range.method, code, start: 1, time: 41, endpoint: try Endpoint(endpoint), reads: reads)
    return .call(CallSpan(trace: TraceID(high: 1, low: 0xABC), id: 0xFEDC_BA98_7654_3210, parent: 7, call: end))
  }

  @Test func aCallAsProtobufHasItInJSON() throws {
    let all = try json([call("http://[::1]:2379")])
    let group = try #require(all["resourceSpans"]?[0])
    #expect(
      group["resource"]?["attributes"]?[0]
        == ["key": "service.name", "value": ["stringValue": "etcd-rest"]])
    let span = try #require(group["scopeSpans"]?[0]?["spans"]?[0])
    #expect(
      span == [
        "traceId": "00000000000000010000000000000abc", "spanId": "fedcba9876543210",
        "parentSpanId": "0000000000000007", "kind": 3, "name": "etcdserverpb.KV/Range",
        "startTimeUnixNano": "1800000000000000001", "endTimeUnixNano": "1800000000000000042",
        "attributes": [
          ["key": "rpc.system", "value": ["stringValue": "grpc"]],
          ["key": "rpc.service", "value": ["stringValue": "etcdserverpb.KV"]],
          ["key": "rpc.method", "value": ["stringValue": "Range"]],
          ["key": "rpc.grpc.status_code", "value": ["intValue": "0"]],
          ["key": "server.address", "value": ["stringValue": "::1"]],
          ["key": "server.port", "value": ["intValue": "2379"]],
        ],
      ])
  }

  @Test func whateverAnEndpointIsCalledIsEscaped() throws {
    let path = "/tmp/\"\\\n\u{1}é"
    let spans = try CollectedSpan.all(
      in: Self.encoder.encode([call("unix://" + path, .unavailable, reads: 3), call("http://a:1")])
        .withUnsafeBytes { Array($0) })
    #expect(spans.count == 2)
    #expect(spans[0].attributes["server.address"] == path && spans[0].attributes["server.port"] == nil)
    #expect(spans[0].isError && spans[0].attributes["error.type"] == "Unavailable")
    #expect(spans[0].attributes["etcd_rest.batch.reads"] == "3")
    #expect(!spans[1].isError && spans[1].attributes["etcd_rest.batch.reads"] == nil)
  }

  @Test(
    arguments: [
      ("", 0, ""), ("{}", 0, ""), ("null", 0, ""), ("[", 0, ""), (#"{"partialSuccess":{}}"#, 0, ""),
      (#"{"partialSuccess":{"rejectedSpans":"5","errorMessage":"no"}}"#, 5, "no"),
      (#"{"partialSuccess":{"rejectedSpans":5}}"#, 5, ""), (#"{"partialSuccess":{"rejectedSpans":"x"}}"#, 0, ""),
      (#"{"partialSuccess":{"rejectedSpans":"99999999999999999999"}}"#, 0, ""),
      (#"{"partialSuccess":{"rejectedSpans":"-9223372036854775808"}}"#, Int.min, ""),
      (String(repeating: "[", count: 60_000), 0, ""),
    ] as [(String, Int, String)])
  func whatACollectorHasNotTaken(_ body: String, _ rejected: Int, _ reason: String) {
    let refusal = ExportRefusal(Array(body.utf8))
    #expect(refusal.rejected == rejected && refusal.reason == reason)
  }

  @Test(
    arguments: [
      ("http://c:4318", "http://c:4318", "c:4318", "/v1/traces"),
      ("http://c", "http://c:80", "c", "/v1/traces"), ("http://c:80/", "http://c:80", "c", "/v1/traces"),
      ("https://c", "https://c:443", "c", "/v1/traces"), ("https://c:443", "https://c:443", "c", "/v1/traces"),
      ("https://c:80/a/b/", "https://c:80", "c:80", "/a/b/v1/traces"),
      ("http://[::1]", "http://[::1]:80", "[::1]", "/v1/traces"),
      ("http://[::1]:4318/x", "http://[::1]:4318", "[::1]:4318", "/x/v1/traces"),
    ])
  func whereACollectorIs(_ text: String, _ endpoint: String, _ authority: String, _ path: String) throws {
    let url = try #require(CollectorURL(argument: text))
    #expect(url.endpoint.description == endpoint && url.authority == authority && url.path == path)
  }

  @Test(
    arguments: [
      "", "c:4318", "ftp://c", "http://", "http://c:0", "http://c:x", "http://u:p@c:4318", "http://c/?a", "http://c/#a",
      "http://c/a b", "http://c/\r\n", "http://c/é", "http://[::1", "HTTP://c", "http://:80",
      "http://c/" + String(repeating: "a", count: 3000),
    ])
  func whatIsNoCollector(_ text: String) { #expect(CollectorURL(argument: text) == nil) }

  @Test(arguments: [("0", 0.0), ("1", 1), ("0.25", 0.25), (".5", 0.5)])
  func whatAShareIs(_ text: String, _ share: Double) { #expect(Share(argument: text)?.value == share) }

  @Test(arguments: ["", "1.1", "-1", "+0.5", "50%", "nan", "0x1", "1e-2", "."])
  func whatNoShareIs(_ text: String) { #expect(Share(argument: text) == nil) }
}
