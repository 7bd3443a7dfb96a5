import TestSupport
import Testing

/// The same requests to the gateway inside one etcd and to etcd-rest in front of another.
@Suite struct DifferentialTests {
  @Test(arguments: EtcdVersion.ofUpstream, [1, 2, 3] as [UInt64])
  func randomRequestsAreAnsweredAlike(_ version: EtcdVersion, seed: UInt64) async throws {
    try await withBoth(version) { stock, ours in
      var requests = RandomRequests(seed: seed)
      for index in 0..<600 {
        if index == 400 {
          try await stock.enableAuth()
          try await ours.enableAuth()
          requests.isGuarded = true
        }
        let item = requests.next()
        async let stockAnswer = stock.answer(to: item)
        async let ourAnswer = ours.answer(to: item)
        let (stocks, answer) = (try await stockAnswer, try await ourAnswer)
        let hasToken = item.identity != .none
        if let expected = DeliberateDifferences.expected(stocks, path: item.path, of: version, hasToken: hasToken),
          !answer.isLike(expected, anyMessage: item.damaged != nil)
        {
          Issue.record(
            """
            request \(index) of seed \(seed): \(item.path) \(item.damaged ?? item.body.description) as \(item.identity)
            expected: \(expected)
            but got:  \(answer)
            """)
        }
      }
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func oddBodiesAreAnsweredAlike(_ version: EtcdVersion) async throws {
    try await withBoth(version) { stock, ours in
      for request in OddBodies.all {
        let stocks = try await stock.answer(to: request)
        let expected = try #require(
          DeliberateDifferences.expected(stocks, path: request.path, of: version, hasToken: false))
        let answer = try await ours.answer(to: request)
        #expect(
          answer.isLike(expected, anyMessage: true),
          """
          \(request)
          expected: \(expected)
          but got:  \(answer)
          """)
      }
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func deliberateDifferencesAreAsListed(_ version: EtcdVersion) async throws {
    try await withBoth(version) { stock, ours in
      for sample in DeliberateDifferences.samples {
        if !sample.notAsked.contains(version) {
          let status = try await stock.connection.send(sample.request).status
          #expect(status == sample.stock, "stock, \(sample.reason): \(sample.request)")
        }
        let response = try await ours.connection.send(sample.request)
        #expect(response.status == sample.ours, "ours, \(sample.reason): \(sample.request): \(response)")
      }
    }
  }

  /// Runs `body` with the gateway inside an etcd and with etcd-rest over another, each with only a key `a`.
  private func withBoth(_ version: EtcdVersion, _ body: (Side, Side) async throws -> Void) async throws {
    try await withEtcd(version) { etcd in
      try await withEtcdAndGateway(version) { _, gateway in
        let stock = Side(try await .connect(to: etcd.url))
        let ours = Side(try await .connect(to: gateway.url))
        for side in [stock, ours] {
          let put = try await side.connection.post("/v3/kv/put", ["key": "YQ==", "value": "MQ=="])
          try #require(put.status == 200, "\(put)")
        }
        try await body(stock, ours)
      }
    }
  }
}

/// One of the two gateways: a connection, and the IDs of its etcd.
private actor Side {
  nonisolated let connection: HTTPConnection
  /// The ids that etcd chose for leases, in order; they appear as `lease-N` in answers.
  private var leases: [String] = []
  private var tokens: [RandomRequests.Identity: String] = [:]

  init(_ connection: HTTPConnection) {
    self.connection = connection
  }

  /// Adds root and a user with a role, switches authentication on and logs both in.
  func enableAuth() async throws {
    for (path, body) in [
      ("user/delete", ["name": "u0"]), ("user/add", ["name": "u0", "password": "pw"]),
      ("role/add", ["name": "r0"]), ("user/grant", ["user": "u0", "role": "r0"]),
      ("user/add", ["name": "root", "password": "rootpw"]), ("role/add", ["name": "root"]),
      ("user/grant", ["user": "root", "role": "root"]), ("enable", [:]),
    ] as [(String, JSON)] {
      _ = try await connection.post("/v3/auth/\(path)", body)
    }
    for (identity, name, password) in [(RandomRequests.Identity.root, "root", "rootpw"), (.user, "u0", "pw")] {
      let response = try await connection.post(
        "/v3/auth/authenticate", ["name": .string(name), "password": .string(password)])
      tokens[identity] = try #require(try response.json["token"]?.string, "\(response)")
    }
    tokens[.stranger] = "stranger"
  }

  func answer(to item: RandomRequests.Item) async throws -> Answer {
    let body = item.damaged ?? item.body.replacing(["lease": .string(leases.last ?? "1")]).description
    let headers = tokens[item.identity].map { [("Authorization", $0)] } ?? []
    let response = try await connection.post(item.path, body, headers: headers)
    if response.status == 200, item.path.hasSuffix("/grant"), let id = try response.json["ID"]?.string,
      (item.body["ID"] ?? "0") == "0" || item.body["ID"] == 0
    {
      leases.append(id)
    }
    return try answer(response, path: item.path)
  }

  func answer(to request: Request) async throws -> Answer {
    try answer(try await connection.send(request), path: request.path)
  }

  private func answer(_ response: HTTPResponse, path: String) throws -> Answer {
    if response.status == 200 { return Answer(status: 200, json: comparable(try response.json, path: path)) }
    return Answer(status: response.status, code: response.code, message: response.message)
  }

  /// The JSON with ids, terms, tokens and times, which differ between any two clusters, made equal.
  private func comparable(_ json: JSON, path: String) -> JSON {
    switch json {
    case .string(let text): return leases.firstIndex(of: text).map { "lease-\($0)" } ?? json
    case .array(let elements): return .array(elements.map { comparable($0, path: path) })
    case .object(let members):
      var members = members.mapValues { comparable($0, path: path) }
      for name in ["cluster_id", "member_id", "raft_term", "token"] where members[name] != nil { members[name] = "*" }
      if path.hasSuffix("/timetolive"), members["TTL"] != "-1", members["TTL"] != nil { members["TTL"] = "*" }
      // Leases come in the order in which they end, a matter of microseconds; a lease's keys in that of a Go map.
      for name in ["leases", "keys"] {
        if let elements = members[name]?.array { members[name] = .array(elements.sorted { "\($0)" < "\($1)" }) }
      }
      return .object(members)
    default: return json
    }
  }
}
