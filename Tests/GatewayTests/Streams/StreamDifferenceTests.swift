import TestSupport
import Testing

/// The same streams from the gateway inside one etcd and from etcd-rest in front of another, frame by frame.
@Suite(.timeLimit(.minutes(15)))
struct StreamDifferenceTests {
  @Test(arguments: EtcdVersion.ofUpstream, WatchCase.all)
  func aWatchIsAnsweredAlike(_ version: EtcdVersion, _ item: WatchCase) async throws {
    var answers: [Front: [String]] = [:]
    for front in Front.allCases {
      try await withFront(front, version, etcd: item.etcdArguments) { etcd, url in
        answers[front] = try await frames(of: item, front, etcd, url)
      }
    }
    #expect(answers[.ours] == answers[.stock], "\(item.body)")
  }

  /// The frames of a watch, as text with the ids of the cluster left out, by watch: between watches there is no order.
  private func frames(of item: WatchCase, _ front: Front, _ etcd: EtcdProcess, _ url: String) async throws -> [String] {
    for (path, body) in WatchCase.past { try await etcd.call(path, body) }
    for (path, body) in item.before { try await etcd.call(path, body) }
    let stream = try await JSONStream.open(url, "/v3/watch", item.body, joinsChunks: front.joinsChunks)
    if let last = item.lastEvent {
      var events: [String] = []
      for (path, body) in item.actions { try await etcd.call(path, body) }
      while true {
        let result = try #require(try await stream.next(), "after \(events.count) events")
        let more = result["events"]?.array ?? []
        events += more.map(\.description)
        if more.last?["kv"]?["mod_revision"]?.string == "\(last)" { return events }
      }
    }
    var frames: [(watch: String, text: String)] = []
    func take(_ count: Int) async throws {
      for _ in 0..<count {
        let message = try #require(try await stream.nextMessage(), "after \(frames.count) frames")
        let watch = message["result"]?["watch_id"]?.string ?? "0"
        frames.append((watch, comparable(message).description))
      }
    }
    try await take(item.immediate)
    let head = try await stream.head()
    #expect(head.status == 200 && head["Content-Type"] == "application/json")
    for (path, body) in item.actions { try await etcd.call(path, body) }
    try await take(item.later)
    return frames.enumerated().sorted { ($0.element.watch, $0.offset) < ($1.element.watch, $1.offset) }
      .map(\.element.text)
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func keepalivesAreAnsweredAlike(_ version: EtcdVersion) async throws {
    var answers: [Front: [String]] = [:]
    for front in Front.allCases {
      try await withFront(front, version) { etcd, url in
        try await etcd.call("/v3/lease/grant", ["ID": "77", "TTL": "100"])
        for body in [#"{"ID":"77"}"#, #"{"ID":78}"#, #"{"ID":"77"} {"ID":"78"}{"ID":77}"#, "{}"] {
          let response = try await HTTPClient(url).post("/v3/lease/keepalive", body)
          #expect(response.status == 200)
          let lines = response.text.split(separator: "\n")
          answers[front, default: []] += try lines.map { try comparable(JSON(parsing: Array($0.utf8))).description }
        }
      }
    }
    #expect(answers[.ours] == answers[.stock])
    #expect(answers[.stock]?.count == 6)
  }

  /// A message without what differs between any two clusters.
  private func comparable(_ message: JSON) -> JSON {
    guard var result = message["result"], var header = result["header"] else { return message }
    for name in ["cluster_id", "member_id", "raft_term"] { header[name] = nil }
    result["header"] = header
    return ["result": result]
  }
}

/// A watch, and the changes while it is open.
struct WatchCase: Sendable, CustomTestStringConvertible {
  typealias Call = (path: String, body: JSON)

  var name: String
  var body: String
  /// The calls before it is opened, after `past`.
  var before: [Call] = []
  /// How many frames come at once, as from the gateway inside etcd.
  var immediate = 1
  var actions: [Call] = []
  /// How many frames follow the actions.
  var later = 0
  var etcdArguments: [String] = []
  /// The revision up to which only the events are compared; nil to compare the frames. Where etcd splits a large
  /// response depends on the watcher's id and on earlier requests.
  var lastEvent: Int?

  var testDescription: String { name }

  /// The history of every case: revisions 2 to 7, of which 2 is compacted away.
  static let past: [Call] = [
    put("a", "1"), put("a", "2"), delete("a"), put("b", "1"), put("a", "3"), put("c", "1"),
    ("/v3/kv/compaction", ["revision": "3"]),
  ]

  static func put(_ key: String, _ value: String) -> Call {
    ("/v3/kv/put", ["key": .string(key.base64), "value": .string(value.base64)])
  }

  static func delete(_ key: String) -> Call {
    ("/v3/kv/deleterange", ["key": .string(key.base64)])
  }

  private static let both: Call = (
    "/v3/kv/txn",
    [
      "success": [
        ["request_put": ["key": "YQ==", "value": "eA=="]], ["request_put": ["key": "Yg==", "value": "eQ=="]],
      ]
    ]
  )

  private static let changes = [put("a", "4"), put("b", "2"), both, delete("a")]

  static let all: [WatchCase] = [
    WatchCase(name: "one key", body: #"{"create_request":{"key":"YQ=="}}"#, actions: changes, later: 3),
    WatchCase(name: "camel case", body: #"{"createRequest":{"key":"YQ==","prevKv":true}}"#, actions: changes, later: 3),
    WatchCase(
      name: "a range", body: #"{"create_request":{"key":"YQ==","range_end":"eg=="}}"#, actions: changes, later: 4),
    WatchCase(
      name: "all keys", body: #"{"create_request":{"key":"AA==","range_end":"AA=="}}"#, actions: changes, later: 4),
    WatchCase(
      name: "previous values", body: #"{"create_request":{"key":"YQ==","prev_kv":true}}"#, actions: changes, later: 3),
    WatchCase(
      name: "no puts", body: #"{"create_request":{"key":"YQ==","filters":["NOPUT"]}}"#, actions: changes, later: 1),
    WatchCase(
      name: "no deletes", body: #"{"create_request":{"key":"YQ==","filters":["NODELETE"]}}"#,
      actions: changes + [put("a", "5")], later: 3),
    WatchCase(
      name: "neither, but a range beside it",
      body: #"{"create_request":{"key":"YQ==","filters":[0,1]}}{"create_request":{"key":"Yg=="}}"#, immediate: 2,
      actions: changes, later: 2),
    WatchCase(
      name: "from the past on", body: #"{"create_request":{"key":"YQ==","start_revision":"4"}}"#, immediate: 2,
      actions: changes, later: 3),
    WatchCase(
      name: "from the past on, with previous values",
      body: #"{"create_request":{"key":"YQ==","start_revision":4,"prev_kv":true}}"#, immediate: 2, actions: changes,
      later: 3),
    WatchCase(
      name: "from now on", body: #"{"create_request":{"key":"YQ==","start_revision":"8"}}"#, actions: changes, later: 3),
    WatchCase(
      name: "from the future on", body: #"{"create_request":{"key":"YQ==","start_revision":"10"}}"#, actions: changes,
      later: 2),
    WatchCase(
      name: "from what is compacted", body: #"{"create_request":{"key":"YQ==","start_revision":"1"}}"#, immediate: 2),
    WatchCase(
      name: "two, one from what is compacted",
      body: #"{"create_request":{"key":"YQ==","start_revision":"1"}}{"create_request":{"key":"YQ=="}}"#, immediate: 3,
      actions: changes, later: 3),
    WatchCase(
      name: "several", body: #"{"create_request":{"key":"YQ=="}} {"create_request":{"key":"Yg=="}}"#, immediate: 2,
      actions: changes, later: 5),
    WatchCase(
      name: "the same twice", body: #"{"create_request":{"key":"YQ=="}}{"create_request":{"key":"YQ=="}}"#,
      immediate: 2, actions: changes, later: 6),
    WatchCase(
      name: "ids of the client's",
      body: #"{"create_request":{"key":"YQ==","watch_id":"5"}}{"create_request":{"key":"Yg==","watch_id":2}}"#,
      immediate: 2, actions: changes, later: 5),
    WatchCase(
      name: "an id that is taken",
      body: #"{"create_request":{"key":"YQ==","watch_id":"5"}}{"create_request":{"key":"Yg==","watch_id":"5"}}"#,
      immediate: 2, actions: changes, later: 3),
    WatchCase(
      name: "canceled",
      body: #"{"create_request":{"key":"YQ=="}}{"create_request":{"key":"Yg=="}}{"cancel_request":{"watch_id":"0"}}"#,
      immediate: 3, actions: changes, later: 2),
    WatchCase(
      name: "progress on request",
      body: #"{"create_request":{"key":"YQ=="}}{"progress_request":{}}"#, immediate: 2, actions: changes, later: 3),
    WatchCase(
      name: "an empty range", body: #"{"create_request":{"key":"Yg==","range_end":"YQ=="}}"#, immediate: 1),
    WatchCase(name: "no key", body: #"{"create_request":{}}"#, immediate: 1),
    WatchCase(
      name: "fragments",
      body: #"{"create_request":{"key":"Yg==","start_revision":"8","fragment":true}}"#,
      before: (0..<20).map { _ in put("b", String(repeating: "x", count: 40_000)) }, actions: [put("b", "3")],
      etcdArguments: ["--max-request-bytes", "65536"], lastEvent: 28),
    WatchCase(
      name: "no fragments", body: #"{"create_request":{"key":"Yg==","start_revision":"8"}}"#,
      before: (0..<20).map { _ in put("b", String(repeating: "x", count: 40_000)) }, actions: [put("b", "3")],
      etcdArguments: ["--max-request-bytes", "65536"], lastEvent: 28),
  ]
}
