import Foundation
import TestSupport
import Testing

/// Reads in a batch are answered byte for byte as each would have been alone.
@Suite(.timeLimit(.minutes(15)))
struct BatchDifferentialTests {
  /// So many reads come in one turn of the gateway's loop.
  private static let crowd = 24
  private static let rounds = 20

  /// A read in one of the possible forms.
  private struct Read: CustomStringConvertible {
    var method = "POST"
    var path = "/v3/kv/range"
    var body: String?
    var headers: [(String, String)] = []
    var user: String?

    var description: String { "\(method) \(path) \(body ?? "") \(headers) as \(user ?? "nobody")" }
  }

  private static let users = ["ann:annpw", "ann:annpw", "ann:annpw", "bob:bobpw", "ann:wrong", nil]

  /// Keys with small and large values, text and bytes, some that do not exist, and one that bob may not read.
  private static let keys =
    (0..<8).map { "a/\($0)" } + ["a/large", "a/larger", "a/huge", "a/gone", "a/never", "a/\u{0}\u{ff}", "b/secret"]

  private static func read(_ random: inout SeededGenerator, user: String?) -> Read {
    // A denied key fails its batch, and after some of these the user's reads go alone.
    var key = keys.randomElement(using: &random) ?? ""
    if key == "b/secret", user == "bob:bobpw", !random.chance(1, in: 8) { key = "a/1" }
    let text = KeyText.encode(Array(key.utf8))
    let plain = Read(body: #"{"key":"\#(key.base64)"}"#, user: user)
    switch Int.random(in: 0..<16, using: &random) {
    case 0: return Read(body: #"{"key":"\#(key.base64)","serializable":true}"#, user: user)
    case 1: return Read(body: #"{"keys_only":true,"key":"\#(key.base64)"}"#, user: user)
    case 2: return Read(body: #"{"count_only":true,"key":"\#(key.base64)","limit":"3"}"#, user: user)
    case 3: return Read(body: #"{"key":"\#(key.base64)","revision":"1"}"#, user: user)
    case 4: return Read(body: #"{"key":"\#(key.base64)","revision":"99999"}"#, user: user)
    case 5: return Read(body: #"{"key":"\#(key.base64)","range_end":"Yg=="}"#, user: user)
    case 6: return Read(body: "{}", user: user)
    case 7: return Read(method: "GET", path: "/keys/\(text)", user: user)
    case 8: return Read(method: "HEAD", path: "/keys/\(text)", user: user)
    case 9: return Read(method: "GET", path: "/keys/\(text)", headers: [("Accept", "application/json")], user: user)
    case 10: return Read(method: "GET", path: "/keys/\(text)?serializable=true", user: user)
    case 11: return Read(method: "GET", path: "/keys/\(text)", headers: [("If-None-Match", "*")], user: user)
    default: return plain
    }
  }

  /// One client's connection, made anew where the last answer has ended it.
  private actor Client {
    private let url: String
    private var connection: HTTPConnection?

    init(_ url: String) { self.url = url }

    func send(_ read: Read) async throws {
      let open = if let connection { connection } else { try await HTTPConnection.connect(to: url) }
      connection = open
      try await open.sendRequest(
        read.method, read.path, headers: read.headers + basic(read.user), body: read.body.map { Array($0.utf8) })
    }

    /// The answer without what each has of its own.
    func answer(to read: Read) async throws -> String {
      guard let connection else { return "no connection" }
      let response = try await connection.receive(toHead: read.method == "HEAD")
      if response[header: "Connection"] == "close" { self.connection = nil }
      let headers = response.head.headers.filter { !["Date", "X-Request-Id"].contains($0.name) }
        .map { "\($0.name): \($0.value)" }
      let body = response.body.count < 1000 ? response.text : "\(response.body.count) bytes, \(response.body.hashValue)"
      return ["\(response.status)"].joined() + "\n" + headers.joined(separator: "\n") + "\n" + body
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func answersAreTheSame(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      try await Self.prepare(fixture, gateway)
      try await withGateway([fixture.etcd.url], ["--shards", "1", "--max-batch", "1"]) { alone in
        let lonely = Client(alone.url)
        let clients = (0..<Self.crowd).map { _ in Client(gateway.url) }
        var random = SeededGenerator(seed: 13)
        for round in 0..<Self.rounds {
          let reads = (0..<Self.crowd).map { _ in
            Self.read(&random, user: Self.users.randomElement(using: &random) ?? nil)
          }
          // What arrives while the gateway is stopped is handled all at once when it continues.
          gateway.process.signal(SIGSTOP)
          for (client, read) in zip(clients, reads) { try await client.send(read) }
          gateway.process.signal(SIGCONT)
          for (client, read) in zip(clients, reads) {
            let answer = try await client.answer(to: read)
            try await lonely.send(read)
            let expected = try await lonely.answer(to: read)
            #expect(answer == expected, "round \(round): \(read)")
          }
        }
        let transactions = try await fixture.etcd.callsStarted(of: "Txn")
        #expect(transactions > Self.rounds / 2, "\(transactions) transactions")
      }
    }
  }

  private static func prepare(_ fixture: AuthFixture, _ gateway: GatewayProcess) async throws {
    try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
    try await fixture.asRoot("/v3/auth/role/add", ["name": "a"])
    let permission: JSON = ["permType": "READ", "key": .string("a".base64), "range_end": .string("b".base64)]
    try await fixture.asRoot("/v3/auth/role/grant", ["name": "a", "perm": permission])
    try await fixture.asRoot("/v3/auth/user/grant", ["user": "bob", "role": "a"])
    let http = try await HTTPConnection.connect(to: gateway.url)
    for key in keys where key != "a/never" {
      let size = ["a/large": 20_000, "a/larger": 70_000, "a/huge": 1_100_000][key] ?? key.utf8.count
      let value = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
      expectStatus(200, try await http.key("PUT", Array(key.utf8), user: "ann:annpw", body: value))
    }
    expectStatus(200, try await http.key("DELETE", "a/gone", user: "ann:annpw"))
    let revision = try await http.post("/v3/kv/range", ["key": "YQ=="], user: "ann:annpw").json["header"]?["revision"]
    expectStatus(
      200, try await http.post("/v3/kv/compaction", ["revision": revision ?? "2"], user: AuthFixture.root))
    // Wrong passwords do not slow down users who are known.
    for user in Set(users.compactMap { $0 }) { _ = try await gateway.get(user) }
    // The first reads that come together make the gateway ask the member for its version.
    _ = try await eventually("reads that travel together") {
      gateway.process.signal(SIGSTOP)
      let clients = (0..<4).map { _ in Client(gateway.url) }
      let reads = (0..<4).map { Read(body: #"{"key":"\#("a/\($0)".base64)"}"#, user: "ann:annpw") }
      for (client, read) in zip(clients, reads) { try await client.send(read) }
      gateway.process.signal(SIGCONT)
      for (client, read) in zip(clients, reads) { _ = try await client.answer(to: read) }
      return try await fixture.etcd.callsStarted(of: "Txn") > 0 ? true : nil
    }
  }
}
