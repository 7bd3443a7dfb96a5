import TestSupport

/// The deliberate differences from the gateways inside etcd 3.4.23 and 3.5.1.
///
/// Everything else must be equal: status, `code`, `message` and the JSON of a success. The text of an error about
/// malformed JSON is this project's own, so that only its status and code are compared.
enum DeliberateDifferences {
  /// A difference that shows in one certain request.
  struct Sample: Sendable {
    var request: Request
    /// The statuses of the stock gateway and of etcd-rest.
    var stock: Int
    var ours: Int
    var reason: String
    /// Versions whose gateway is not asked, because the request kills etcd.
    var notAsked: [EtcdVersion] = []
  }

  static let samples: [Sample] = json + poison + http + streams

  /// The expected answer of etcd-rest to a request, given stock's: the differences that a rule describes.
  /// - Parameter hasToken: whether the request carried a token.
  /// - Returns: nil if the two cannot be compared.
  static func expected(_ stock: Answer, path: String, of version: EtcdVersion, hasToken: Bool) -> Answer? {
    // 3.4 checks a token that comes with a login, and refuses the login for it; etcd-rest sends a login without any.
    if hasToken && path == "/v3/auth/authenticate" && stock.code == 16 { return nil }
    var answer = stock
    // 3.4's gateway says 412 for FailedPrecondition; 3.5 and later say 400, as gRPC's own mapping does.
    if version == .v3_4 && stock.code == 9 { answer.status = 400 }
    // Hash and Defragment pass their errors on with code Unknown; their messages mean 401 and 403 all the same.
    switch (stock.code, stock.message) {
    case (2, "auth: invalid auth token"): answer.status = 401
    case (2, "auth: user name is empty") where !hasToken: answer.status = 401
    case (2, "auth: permission denied"): answer.status = 403
    default: break
    }
    // A client that has sent no credentials is asked for them: 401 with a challenge, so that browsers and curl log in.
    if !hasToken && stock.message == "etcdserver: user name is empty" && stock.code == 3 { answer.status = 401 }
    return answer
  }

  // MARK: JSON in: 3.4 and 3.5.1 parse with jsonpb, we as the protojson of 3.5.30 and later

  private static let json: [Sample] =
    accepted(
      "an unknown name of an enum is ignored, as an unknown field is",
      #""sort_order":"NOPE""#, #""sort_order":"ascend""#)
    + accepted(
      "a number is a 64-bit integer if its value is one, however it is written",
      #""limit":1e2"#, #""limit":1.0"#, #""limit":10e-1"#, #""limit":"5.0""#, #""limit":"1e1""#, #""limit":"\u0035""#)
    + accepted(
      "the number of an enum may be a string or have a fraction of zero", #""sort_order":"1""#, #""sort_order":1.0"#)
    + accepted("base64 may lack its padding or use the URL alphabet", #""range_end":"Yg""#, #""range_end":"-_8=""#)
    + refused("a number in a string has nothing around it", #""limit":" 5""#, #""limit":"5 ""#, #""limit":"null""#)
    + refused("base64 has no line breaks", #""range_end":"Yg\n==""#)
    + refused("bytes are base64, not an array of numbers", #""range_end":[89]"#)
    + refused(
      "a field given twice is a mistake", #""limit":1,"limit":2"#, #""range_end":"Yg==","rangeEnd":"Yg==""#)
    + refused("a document is UTF-8", #""x":"\ud800""#)
    + refused(
      "nesting ends at 64 levels", #""x":"# + String(repeating: "[", count: 100) + String(repeating: "]", count: 100))
    + [
      Sample(
        request: Request("/v3/kv/range", bytes: Array(#"{"key":"YQ==","x":""#.utf8) + [0xff] + Array(#""}"#.utf8)),
        stock: 200, ours: 400, reason: "a document is UTF-8"),
      Sample(
        request: Request(
          "/v3/kv/txn", #"{"success":[{"request_range":{"key":"YQ=="},"request_put":{"key":"YQ=="}}]}"#),
        stock: 200, ours: 400, reason: "two members of one oneof are a mistake"),
      Sample(
        request: Request("/v3/kv/txn", #"{"compare":[{"key":"YQ==","version":"1","mod_revision":"1"}]}"#),
        stock: 200, ours: 400, reason: "two members of one oneof are a mistake"),
      Sample(
        request: Request("/v3/kv/txn", #"{"compare":[null]}"#), stock: 400, ours: 400,
        reason: "null is no element of a list; it ends 3.4", notAsked: [.v3_4]),
    ]

  private static func accepted(_ reason: String, _ members: String...) -> [Sample] {
    members.map { Sample(request: .range(with: $0), stock: 400, ours: 200, reason: reason) }
  }

  private static func refused(_ reason: String, _ members: String...) -> [Sample] {
    members.map { Sample(request: .range(with: $0), stock: 200, ours: 400, reason: reason) }
  }

  // MARK: What etcd dies of; all of it is in PoisonousRequests

  private static let poison: [Sample] =
    refused("a number that no enum value has may end etcd", #""sort_order":9"#, #""sort_order":-1"#) + [
      Sample(
        request: Request("/v3/kv/range", #"{"key":"YQ==","sort_target":9}"#), stock: 503, ours: 400,
        reason: "a number that no enum value has may end etcd", notAsked: EtcdVersion.ofUpstream),
      Sample(
        request: Request("/v3/maintenance/alarm", #"{"action":"ACTIVATE"}"#), stock: 200, ours: 400,
        reason: "an alarm of no kind ends 3.4 for good", notAsked: [.v3_4]),
      Sample(
        request: Request("/v3/auth/role/grant", #"{"name":"r"}"#), stock: 400, ours: 400,
        reason: "a grant without a permission ends 3.4 for good", notAsked: [.v3_4]),
      Sample(
        request: Request("/v3/cluster/member/update", #"{"ID":"1"}"#), stock: 404, ours: 400,
        reason: "a member without URLs ends etcd for good"),
      Sample(
        request: Request(
          "/v3/kv/txn",
          #"{"success":[{"request_delete_range":{"key":"YQ==","range_end":"AA=="}},"#
            + #"{"request_put":{"key":"eA==","ignore_value":true}}]}"#),
        stock: 400, ours: 400, reason: "where the key exists, this ends etcd for good"),
    ]

  // MARK: HTTP

  private static let http: [Sample] = [
    Sample(
      request: Request("/v3/maintenance/hashkv", "{}"), stock: 404, ours: 200,
      reason: "every unary method has a route; 3.4 and 3.5.1 forgot this one"),
    Sample(
      request: Request("/v3alpha/kv/range", #"{"key":"YQ=="}"#), stock: 404, ours: 200,
      reason: "clients of 3.2 ask for /v3alpha"),
    Sample(
      request: Request("/v3/kv/range", #"{"key":"YQ=="}"#, headers: [("Content-Encoding", "gzip")]), stock: 200,
      ours: 415, reason: "a coding we do not undo is not ignored"),
    Sample(
      request: Request("/v3//kv/range", #"{"key":"YQ=="}"#), stock: 301, ours: 404,
      reason: "curl and most clients turn a redirected POST into a GET, which is refused in turn"),
    Sample(
      request: Request("/livez", method: "GET"), stock: 404, ours: 200,
      reason: "probes of later versions work with old ones"),
    Sample(
      request: Request("/readyz", method: "GET"), stock: 404, ours: 200,
      reason: "probes of later versions work with old ones"),
  ]

  // MARK: Streams; what is no matter of a status is in StreamDeliberateDifferenceTests

  private static let streams: [Sample] =
    ["/v3/watch", "/v3/lease/keepalive"].flatMap { path in
      ["{", "[]", "x"].map {
        Sample(request: Request(path, $0), stock: 500, ours: 400, reason: "malformed JSON is the client's mistake")
      }
    } + [
      Sample(
        request: Request("/v3/lease/keepalive", ""), stock: 200, ours: 400,
        reason: "to ask for nothing is a mistake; stock leaves such a watch without an answer"),
      Sample(
        request: Request("/snapshot", method: "GET"), stock: 404, ours: 200,
        reason: "a file is what restores are made from"),
    ]
}

/// A request to be sent to both gateways.
struct Request: Sendable, CustomStringConvertible {
  var method = "POST"
  var path: String
  var headers: [(String, String)] = []
  var body: [UInt8]?

  init(_ path: String, _ body: String, headers: [(String, String)] = []) {
    self.init(path, bytes: Array(body.utf8), headers: headers)
  }

  init(_ path: String, bytes: [UInt8], headers: [(String, String)] = []) {
    self.path = path
    self.headers = headers
    body = bytes
  }

  init(_ path: String, method: String) {
    self.path = path
    self.method = method
  }

  /// A range of one key with more members in its body.
  static func range(with members: String) -> Request {
    Request("/v3/kv/range", #"{"key":"YQ==",\#(members)}"#)
  }

  var description: String {
    let text = body.map { String(decoding: $0, as: UTF8.self) } ?? ""
    return "\(method) \(path) \(text.count > 300 ? text.prefix(300) + "…" : text)"
  }
}

/// The compared part of the two gateways' responses.
struct Answer: Sendable {
  var status: Int
  var code: Int?
  var message: String?
  /// The JSON of a success, without what differs between any two clusters.
  var json: JSON?

  /// - Parameter anyMessage: whether the text of an error may differ.
  func isLike(_ other: Answer, anyMessage: Bool) -> Bool {
    status == other.status && code == other.code && json == other.json && (anyMessage || message == other.message)
  }
}

extension HTTPConnection {
  func send(_ request: Request) async throws -> HTTPResponse {
    try await self.request(request.method, request.path, headers: request.headers, body: request.body)
  }
}
