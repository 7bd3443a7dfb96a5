import EtcdSchema
import TestSupport
import Testing

/// The memory of etcd's answers in the gateway while they come, in every form in which clients may request them.
@Suite(.timeLimit(.minutes(15)))
struct AnswerMemoryTests {
  private static let megabyte = 1 << 20
  private static let clients = 150

  private static let requests: [(method: String, path: String, headers: [(String, String)], body: String?)] = [
    ("GET", "/keys/leased", [], nil), ("GET", "/keys/large", [("Accept", "application/json")], nil),
    ("GET", "/keys/large", [("Accept", "text/html")], nil), ("GET", "/keys?prefix=large", [], nil),
    ("GET", "/keys?prefix=large", [("Accept", "application/x-ndjson")], nil),
    ("POST", "/txn", [], #"{"then":[{"get":{"key":"large"}}]}"#),
    ("PUT", "/keys/large?prev=true", [], "x"),
  ]

  /// Each of the clients requests a value of 1.4 MB, and reads nothing.
  @Test func answersOfKeysAreCountedWhileTheyCome() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--max-memory", "16M", "--shards", "1"]) { etcd, gateway in
      let value = [UInt8](repeating: 120, count: 1_400_000)
      let http = gateway.http
      expectStatus(200, try await http.request("PUT", "/keys/large", body: value))
      expectStatus(200, try await http.request("PUT", "/keys/leased?ttl=3600s", body: value))
      let before = gateway.process.residentBytes
      for request in Self.requests where request.method != "PUT" {
        var connections: [HTTPConnection] = []
        for _ in 0..<Self.clients {
          let connection = try await HTTPConnection.connect(to: gateway.url)
          await connection.setReceiveBuffer(bytes: 4096)
          try await connection.sendRequest(
            request.method, request.path, headers: request.headers, body: request.body.map { Array($0.utf8) })
          connections.append(connection)
        }
        // Small requests are served all the same, after all of them.
        #expect(try await http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 200)
        let grown = gateway.process.peakResidentBytes - before
        #expect(grown < 100 * Self.megabyte, "\(request.path) \(request.headers): \(grown)")
        for connection in connections { await connection.close() }
        _ = try await eventually("room again") {
          try? await http.get("/keys/leased").status == 200 ? true : nil
        }
      }
    }
  }

  /// A peer in etcd's place sends leases, or keys of one, without end.
  @Test func leasesAreCountedWhileTheyCome() async throws {
    let header = Etcdserverpb_ResponseHeader.with { $0.revision = 7 }
    let leases = Etcdserverpb_LeaseLeasesResponse.with {
      $0.header = header
      $0.leases = (1...1_000_000).map { number in .with { $0.id = number } }
    }
    func keys(_ count: Int, _ size: Int) -> Etcdserverpb_LeaseTimeToLiveResponse {
      .with {
        $0.header = header
        ($0.id, $0.ttl, $0.grantedTtl) = (7, 60, 60)
        $0.keys = Array(repeating: .init(repeating: 1, count: size), count: count)
      }
    }
    let answers = [keys(500_000, 20), keys(1, 64 << 20)].map { ScriptedPeer.Answer.message($0) }
    let list = ScriptedPeer.Answer.message(leases)
    let script: ScriptedPeer.Script = { call in
      switch call.path {
      case EtcdRPC.leaseLeases.path: list
      case EtcdRPC.leaseTimeToLive.path: answers[min(call.attempt - 1, 1)]
      default: .range
      }
    }
    try await withScriptedEtcd(gateway: ["--max-memory", "8M", "--shards", "1"], script: script) { _, gateway in
      let before = gateway.process.peakResidentBytes
      for path in ["/leases", "/leases/7?keys=true", "/leases/7?keys=true"] {
        expectError(try await gateway.http.get(path), 503, code: 8)
      }
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 40 * Self.megabyte, "\(grown)")
      expectStatus(200, try await gateway.http.post("/v3/kv/range", "{}"))
    }
  }

  /// A peer in etcd's place begins to send what is kept until it is whole, and goes no further: who leads, who holds a
  /// lock, or a piece of a snapshot.
  @Test(arguments: [("/elections/e", RPCPath.range), ("/locks/l", RPCPath.range), ("/snapshot", EtcdRPC.snapshot.path)])
  func whatComesIsCountedBeforeItIsWhole(_ path: String, _ rpc: String) async throws {
    let (clientCount, budget) = (40, 8)
    let part = grpcFrame([UInt8](repeating: 120, count: Self.megabyte), claiming: Self.megabyte * 5 / 4)
    let script: ScriptedPeer.Script = { call in
      let read = try? Etcdserverpb_RangeRequest(serializedBytes: call.message)
      let isOfOneKey = read.map { !$0.key.isEmpty && $0.rangeEnd.isEmpty } == true
      return call.path == rpc && !isOfOneKey ? .init([.headers(.grpcResponse), .data(part)]) : .range
    }
    let flags = ["--max-memory", "\(budget)M", "--shards", "1"]
    try await withScriptedEtcd(gateway: flags, script: script) { peer, gateway in
      let before = gateway.process.peakResidentBytes
      var clients: [HTTPConnection] = []
      for number in 0..<clientCount {
        let client = try await HTTPConnection.connect(to: gateway.url)
        try await client.sendRequest("GET", path)
        clients.append(client)
        try await peer.wait(for: "what comes of answer \(number)") { record in
          let calls = record.streams(of: rpc)
          return calls.count > number && (calls[number].reset != nil || calls[number].bytesSent == part.count)
        }
      }
      // There is no room for the others.
      let record = try await peer.wait(for: "the end of all but \(budget) calls") { record in
        record.streams(of: rpc).count { $0.reset != nil } >= clientCount - budget
      }
      for (client, call) in zip(clients, record.streams(of: rpc)) where call.reset != nil {
        expectError(try await client.receive(), 503, code: 8)
      }
      expectStatus(200, try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#))
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 40 * Self.megabyte, "\(grown)")
      for client in clients { await client.close() }
      try await peer.wait(for: "the end of all calls") { $0.streams.allSatisfy { $0.closed != nil } }
    }
  }

  /// A peer in etcd's place sends a value that is larger than the whole budget.
  @Test func aMemberCannotFillTheMemory() async throws {
    let value = Mvccpb_KeyValue.with {
      $0.key = .init("large".utf8)
      $0.modRevision = 7
      $0.lease = 1
      $0.value = .init(repeating: 120, count: 64 << 20)
    }
    let header = Etcdserverpb_ResponseHeader.with { $0.revision = 7 }
    let range = Etcdserverpb_RangeResponse.with {
      $0.header = header
      $0.kvs = [value]
    }
    let answers: [String: ScriptedPeer.Answer] = [
      RPCPath.range: .message(range),
      RPCPath.put: .message(
        Etcdserverpb_PutResponse.with {
          $0.header = header
          $0.prevKv = value
        }),
      EtcdRPC.txn.path: .message(
        Etcdserverpb_TxnResponse.with {
          $0.header = header
          $0.succeeded = true
          $0.responses = [.with { $0.responseRange = range }]
        }),
    ]
    let script: ScriptedPeer.Script = { call in answers[call.path] ?? .failure(12, "") }
    try await withScriptedEtcd(gateway: ["--max-memory", "8M", "--shards", "1"], script: script) { _, gateway in
      let before = gateway.process.peakResidentBytes
      for request in Self.requests {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest(
          request.method, request.path, headers: request.headers, body: request.body.map { Array($0.utf8) })
        let answer = try? await connection.receive()
        let isStreamed = request.path.hasPrefix("/keys?")
        let isExecuted = request.method != "GET"
        // An answer that has begun breaks off.
        #expect(
          isStreamed ? answer == nil || answer?.status == 503 : answer?.status == (isExecuted ? 500 : 503),
          "\(request.path) \(request.headers): \(String(describing: answer))")
        if isExecuted { #expect(answer?.message?.hasPrefix("the call was executed") == true) }
        await connection.close()
      }
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 40 * Self.megabyte, "\(grown)")
    }
  }
}
