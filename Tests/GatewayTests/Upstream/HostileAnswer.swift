import EtcdSchema
import Foundation
import SwiftProtobuf
import TestSupport

/// An answer that etcd would not give, the request for it, and the outcome.
struct HostileAnswer: Sendable {
  enum Outcome: Sendable {
    /// A whole answer with this status.
    case status(Int)
    /// The answer has begun, and breaks off, or ends with an error within.
    case cut
    /// The content makes no sense, and is passed on unchanged: a whole answer, 200, with these words in its head or
    /// body.
    case passed(String)
  }

  let name: String
  let method: String
  let path: String
  var headers: [(String, String)] = []
  var body: String?
  /// The RPC that is answered in this way; others are answered as by a small etcd.
  let rpc: String
  let answer: ScriptedPeer.Answer
  let outcome: Outcome

  // MARK: - Protobuf by hand

  static func varint(_ value: UInt64) -> [UInt8] {
    var value = value
    var bytes: [UInt8] = []
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    return bytes + [UInt8(value)]
  }

  static func field(_ number: UInt64, _ value: Int64) -> [UInt8] {
    varint(number << 3) + varint(UInt64(bitPattern: value))
  }

  static func field(_ number: UInt64, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(UInt64(bytes.count)) + bytes
  }

  static func field(_ number: UInt64, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }

  private static let header = field(1, field(3, 7))
  private static let large = [UInt8](repeating: 0x61, count: 100_000)

  private static func key(_ name: String, _ values: [UInt8]..., more: [UInt8] = []) -> [UInt8] {
    field(2, field(1, name) + field(3, 3) + values.flatMap { field(5, $0) } + more)
  }

  private static func messages(_ messages: [UInt8]...) -> ScriptedPeer.Answer { .messages(messages) }

  private static func get(
    _ name: String, _ path: String, _ answer: ScriptedPeer.Answer, _ outcome: Outcome = .status(502),
    rpc: String = RPCPath.range, headers: [(String, String)] = []
  ) -> HostileAnswer {
    HostileAnswer(name: name, method: "GET", path: path, headers: headers, rpc: rpc, answer: answer, outcome: outcome)
  }

  private static func post(
    _ name: String, _ path: String, _ rpc: String, _ answer: ScriptedPeer.Answer, _ outcome: Outcome = .status(502),
    _ body: String = #"{"key":"YQ=="}"#
  ) -> HostileAnswer {
    HostileAnswer(name: name, method: "POST", path: path, body: body, rpc: rpc, answer: answer, outcome: outcome)
  }

  // MARK: - The answers

  private static let most = Int64.max
  private static let least = Int64.min
  private static let lines = [("Accept", "application/x-ndjson")]
  private static let watchBody = #"{"create_request":{"key":"YQ=="}}"#
  private static let status = EtcdRPC.status.path
  private static let watch = EtcdRPC.watch.path
  private static let keepAlive = EtcdRPC.leaseKeepAlive.path
  private static let snapshot = EtcdRPC.snapshot.path
  private static let grant = EtcdRPC.leaseGrant.path
  private static let txn = EtcdRPC.txn.path
  private static let deletion = EtcdRPC.deleteRange.path

  static let keys: [HostileAnswer] = [
    get("two large values for one key", "/keys/a", messages(header + key("a", large, large))),
    get(
      "two large values, the lease behind them", "/keys/a", messages(header + key("a", large, large, more: field(6, 1)))
    ),
    get("two small values for one key", "/keys/a", messages(header + key("a", [1], [2]))),
    get(
      "two values as JSON", "/keys/a", messages(header + key("a", large, large)),
      headers: [("Accept", "application/json")]),
    get("two keys for one", "/keys/a", messages(header + key("a", [1]) + key("b", [2]))),
    get("two keys without values for one", "/keys/a", messages(header + key("a") + key("b"))),
    get(
      "revisions below 0", "/keys/a", messages(field(1, field(3, least)) + field(2, field(1, "a") + field(3, least))),
      .passed("ETag: \"\(least)\"")),
    get(
      "a second header in a large list", "/keys?prefix=a",
      messages(header + key("a", large) + header + key("b", large)), .cut),
    get("a second header in a small list", "/keys?prefix=a", messages(header + key("a", [1]) + header)),
    get("a list with its header behind", "/keys?prefix=a", messages(key("a", [1]) + header)),
    get("a large list with its header behind", "/keys?prefix=a", messages(key("a", large) + header)),
    get("a list without a header", "/keys?prefix=a", messages(key("a", [1]))),
    get("keys where a count was asked for", "/keys?prefix=a&count_only=true", messages(header + key("a", [1]))),
    get(
      "a list of fewer than none", "/keys?prefix=a", messages(header + field(3, 1) + field(4, least)),
      .passed("\"count\":\(least)")),
    get(
      "an export that does not move on", "/keys?prefix=a", messages(header + key("zz", [1]) + field(3, 1)), .cut,
      headers: lines),
    get("an export without a header", "/keys?prefix=a", messages(key("a", [1])), headers: lines),
    get("nothing that is protobuf", "/keys/a", messages([0xff, 0xff, 0xff])),
    get(
      "a length beyond the message", "/keys/a", messages([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
    get("a length beyond 64 bits", "/keys/a", messages([0x0a] + [UInt8](repeating: 0xff, count: 10))),
    get("a field without a number", "/keys/a", messages([0x00, 0x01])),
    get("a group", "/keys/a", messages([0x0b, 0x0c])),
    HostileAnswer(
      name: "a lease of no time", method: "PUT", path: "/keys/a?ttl=60s", body: "x", rpc: grant,
      answer: messages(header + field(2, least) + field(3, least)), outcome: .passed("\"ttl\":\(least)")),
    HostileAnswer(
      name: "a lease that is none", method: "PUT", path: "/keys/a?ttl=60s", body: "x", rpc: grant,
      answer: messages([0xff]), outcome: .status(502)),
    HostileAnswer(
      name: "a put that is none", method: "PUT", path: "/keys/a", body: "x", rpc: RPCPath.put, answer: messages([0xff]),
      outcome: .status(502)),
    HostileAnswer(
      name: "a transaction without answers", method: "PUT", path: "/keys/a", headers: [("If-Match", "*")], body: "x",
      rpc: txn, answer: messages(field(2, 1) + field(3, field(1, [UInt8]()))), outcome: .passed("{\"revision\":0}")),
    HostileAnswer(
      name: "fewer than no keys deleted", method: "DELETE", path: "/keys?prefix=a", rpc: deletion,
      answer: messages(header + field(2, least)), outcome: .passed("\"deleted\":\(least)")),
  ]

  static let calls: [HostileAnswer] = [
    post("an unmatched group", "/v3/kv/range", RPCPath.range, messages([0x0c])),
    post("groups in groups", "/v3/kv/range", RPCPath.range, messages([UInt8](repeating: 0x0b, count: 10_000))),
    post(
      "a string that is no UTF-8", "/v3/auth/role/list", EtcdRPC.roleList.path,
      messages(header + field(2, [0xff, 0xfe])), .passed(#""roles":["\ufffd\ufffd"]"#), "{}"),
    post(
      "a list in a list of numbers cut short", "/v3/lease/timetolive", EtcdRPC.leaseTimeToLive.path,
      messages(field(5, [0x80])), .passed(#""keys":["gA=="]"#), "{}"),
    post("an endless number", "/v3/kv/range", RPCPath.range, messages([0x18] + [UInt8](repeating: 0x80, count: 100))),
    post("a field number beyond all", "/v3/kv/range", RPCPath.range, messages([0xf8, 0xff, 0xff, 0xff, 0x7f, 0])),
    post(
      "numbers at their ends", "/v3/kv/range", RPCPath.range,
      messages(field(1, field(1, -1) + field(3, most)) + field(4, least)), .passed("\"count\":\"\(least)\"")),
    post(
      "a status beyond all numbers", "/v3/kv/put", RPCPath.put,
      [
        .headers(.grpcResponse), .data(grpcFrame(header)), .trailers([.init("grpc-status", "99999999999999999999999")]),
      ]),
    post(
      "a status with odd bytes", "/v3/kv/put", RPCPath.put,
      [.trailers(.grpcResponse + [.init("grpc-status", "5"), .init("grpc-message", "%00%0d%0a%ff%22<script>%5c%")])],
      .status(404)),
    post(
      "a megabyte of headers", "/v3/kv/put", RPCPath.put,
      [
        .headers(.grpcResponse + (0..<70).map { .init("x-\($0)", String(repeating: "y", count: 15_000)) }),
        .trailers(.grpcStatus(0)),
      ]),
    post("headers that are no tokens", "/v3/kv/put", RPCPath.put, raw([("x y", "z")])),
    post("headers in capitals", "/v3/kv/put", RPCPath.put, raw([("Grpc-Status", "0")])),
    post("headers of connections", "/v3/kv/put", RPCPath.put, raw([("connection", "close")])),
    post(
      "a length that is wrong", "/v3/kv/put", RPCPath.put,
      .init(
        raw([("content-length", "7")]).steps + [
          .rawOnStream { RawFrame.bytes(RawFrame.data, flags: RawFrame.endStream, stream: $0, grpcFrame(header)) }
        ])),
    post("no :status", "/v3/kv/put", RPCPath.put, .init(rawHeaders([("content-type", "application/grpc")]))),
    post(
      "a :status that is no number", "/v3/kv/put", RPCPath.put,
      .init(rawHeaders([(":status", "two"), ("content-type", "application/grpc")]))),
    post(
      "an announcement of 4 GiB", "/v3/kv/put", RPCPath.put,
      [.headers(.grpcResponse), .data(grpcFrame(header, claiming: Int(UInt32.max))), .trailers(.grpcStatus(0))]),
    post(
      "a compressed answer", "/v3/kv/put", RPCPath.put,
      [.headers(.grpcResponse), .data(grpcFrame(header, compressed: true)), .trailers(.grpcStatus(0))]),
    post(
      "an answer without trailers", "/v3/kv/put", RPCPath.put,
      [.headers(.grpcResponse), .data(grpcFrame(header)), .endStream]),
    post("an answer of HTML", "/v3/kv/put", RPCPath.put, .http(status: 200)),
    post(
      "a window of nothing", "/v3/kv/put", RPCPath.put,
      [.rawOnStream { RawFrame.bytes(RawFrame.window, stream: $0, RawFrame.number(0)) }], .status(503)),
    post("a stream reset for no reason", "/v3/kv/put", RPCPath.put, [.reset(code: 0xbad)]),
    get("a version with quotes", "/version", messages(header + field(2, "3\",\"x\":\"<b>")), .status(502), rpc: status),
    get(
      "a version of a megabyte", "/version", messages(header + field(2, [UInt8](repeating: 0x33, count: 2 << 20))),
      .status(502), rpc: status),
    get(
      "a page with a script for a version", "/", messages(header + field(2, "<script>alert(1)</script>")),
      .passed("<dd>&lt;script&gt;alert(1)&lt;/script&gt;</dd>"), rpc: status),
    get(
      "a login of a megabyte", "/keys/a", messages(field(2, [UInt8](repeating: 0x33, count: 2 << 20))), .status(502),
      rpc: RPCPath.authenticate, headers: [("Authorization", "Basic \("u:p".base64)")]),
    get(
      "a login without a token", "/keys/a", messages([0xff]), .status(502), rpc: RPCPath.authenticate,
      headers: [("Authorization", "Basic \("u:p".base64)")]),
    get(
      "a token with line breaks", "/keys/a", messages(field(2, "a\r\nb: c")), .status(502), rpc: RPCPath.authenticate,
      headers: [("Authorization", "Basic \("u:p".base64)")]),
  ]

  static let streams: [HostileAnswer] = [
    post(
      "a watch that nobody asked for", "/v3/watch", watch, open(field(3, 1) + field(2, 1), field(3, 1) + field(2, 9)),
      .cut, watchBody),
    post("a watch response that is none", "/v3/watch", watch, open([0xff]), .status(502), watchBody),
    post(
      "an event without a key", "/v3/watch", watch,
      open(header + field(2, 1) + field(3, 1), header + field(2, 1) + field(11, field(1, 1))), .cut, watchBody),
    post(
      "a compaction before all time", "/v3/watch", watch,
      open(header + field(2, 1) + field(3, 1), header + field(2, 1) + field(4, 1) + field(5, least)),
      .passed("\"compact_revision\":\"\(least)\""), watchBody),
    get(
      "a compaction at the end of all time", "/keys/a?watch=true&since=1",
      open(header + field(2, 1) + field(3, 1), header + field(2, 1) + field(4, 1) + field(5, most)),
      .passed("{\"type\":\"compacted\",\"compact_revision\":\(most)}"), rpc: watch),
    get(
      "a revision at the end of all time", "/keys/a?watch=true",
      open(
        field(1, field(3, most)) + field(2, 1) + field(3, 1),
        field(1, field(3, most)) + field(2, 1) + field(11, field(2, field(1, "a") + field(3, most))),
        header + field(2, 1) + field(4, 1)), .passed("{\"type\":\"progress\",\"revision\":\(most)}"), rpc: watch),
    get(
      "events that go back", "/keys/a?watch=true",
      open(
        header + field(2, 1) + field(3, 1),
        header + field(2, 1) + field(11, field(2, field(1, "a") + field(3, least)))
          + field(11, field(2, field(1, "a") + field(3, most))) + field(11, field(2, field(1, "a") + field(3, -1))),
        header + field(2, 1) + field(4, 1)), .passed("\"mod_revision\":\(most)"), rpc: watch),
    get(
      "a wait for what is no event", "/keys/a?wait=60s&since=1",
      open(header + field(2, 1) + field(3, 1), header + field(2, 1) + field(11, [0xff])), .status(502), rpc: watch),
    // It is asked for again, until the client's time limit.
    post("a keepalive that is none", "/v3/lease/keepalive", keepAlive, open([0xff]), .status(504), #"{"ID":"7"}"#),
    post(
      "a keepalive of no time", "/v3/lease/keepalive", keepAlive, open(header + field(2, 7) + field(3, least)),
      .passed("\"TTL\":\"\(least)\""), #"{"ID":"7"}"#),
    get("a snapshot of all sizes", "/snapshot", open(field(2, -1) + field(3, [1, 2, 3])), .cut, rpc: snapshot),
    get(
      "a snapshot that is smaller than itself", "/snapshot",
      open(field(2, -33) + field(3, [UInt8](repeating: 1, count: 64))), .status(502), rpc: snapshot),
    get("a snapshot in no pieces", "/snapshot", open([0xff]), .status(502), rpc: snapshot),
    get(
      "a piece of a snapshot as large as all", "/snapshot",
      [.headers(.grpcResponse), .data(grpcFrame([1], claiming: 1 << 31))], .status(502), rpc: snapshot),
  ]

  /// A stream's messages; then the stream ends.
  private static func open(_ messages: [UInt8]...) -> ScriptedPeer.Answer {
    .init([.headers(.grpcResponse)] + messages.map { .data(grpcFrame($0)) } + [.barrier])
  }

  private static func raw(_ fields: [(String, String)]) -> ScriptedPeer.Answer {
    .init(rawHeaders([(":status", "200"), ("content-type", "application/grpc")] + fields))
  }

  private static func rawHeaders(_ fields: [(String, String)]) -> [ScriptedPeer.Step] {
    [
      .rawOnStream { stream in
        RawFrame.bytes(
          RawFrame.headers, flags: RawFrame.endHeaders, stream: stream, fields.flatMap { RawFrame.field($0.0, $0.1) })
      }
    ]
  }
}
