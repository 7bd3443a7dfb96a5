import EtcdSchema
import TestSupport
import Testing

/// A request that kills etcd does not reach it, over any transport.
@Suite struct PoisonTests {
  private static let versions = Set(EtcdVersion.allCases + EtcdVersion.ofUpstream).sorted()

  @Test(arguments: versions)
  func theGatewayRefusesWhatKillsEtcd(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "Zm9v", "value": "MQ=="]))
      expectStatus(200, try await gateway.http.post("/v3/auth/role/add", ["name": "r"]))
      for sample in PoisonousRequests.samples + PoisonousRequests.enums {
        for headers in [[], [("Prefer", "handling=strict")]] {
          let response = try await gateway.http.post(sample.path, sample.body, headers: headers)
          #expect(response.status == 400 && response.code == 3, "\(sample): \(response)")
          let hasField = response.message?.contains("the request body: \(sample.field)") == true
          let hasValue = response.message?.contains("value 1: \(sample.field)") == true
          #expect(hasField || hasValue || response.message?.contains("unknown enum value") == true, "\(response)")
        }
      }
      try await expectLife(etcd, gateway)
    }
  }

  @Test(arguments: versions)
  func aWebSocketIsNoWayAround(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "Zm9v", "value": "MQ=="]))
      let streams = ["/v3/watch", "/v3/lease/keepalive"]
      let samples = PoisonousRequests.samples + PoisonousRequests.enums
      for (path, samples) in Dictionary(grouping: samples, by: \.path) where !streams.contains(path) {
        let socket = try await WebSocketClient.connect(gateway.url, path)
        for sample in samples {
          try await socket.send(sample.body)
          let answer = try await socket.receiveJSON()
          #expect(answer["code"] == 3, "\(sample): \(answer)")
          #expect(answer["message"]?.string?.contains("the message: \(sample.field)") == true, "\(sample): \(answer)")
        }
      }
      for sample in samples where streams.contains(sample.path) {
        let socket = try await WebSocketClient.connect(gateway.url, sample.path)
        try await socket.send(sample.body)
        #expect(try await socket.receiveJSON()["error"]?["grpc_code"] == 3, "\(sample)")
        #expect(try await socket.receiveClose() == 1007)
      }
      try await expectLife(etcd, gateway)
    }
  }

  /// Required fields are missing from an absent body as from an empty one.
  @Test func noBodyIsHeldToTheSameAsABlank() async throws {
    try await withScriptedEtcd(script: { _ in .message([]) }) { peer, gateway in
      for body in [" ", ""] {
        let answer = try await gateway.http.post("/v3/auth/role/grant", body)
        expectError(answer, 400, code: 3)
        #expect(answer.message?.hasPrefix("the request body: perm: a grant needs a permission") == true, "\(answer)")
      }
      #expect(peer.record.streams(of: EtcdRPC.roleGrantPermission.path).isEmpty)
    }
  }

  @Test func allKindsOfRequestsAreAmongThem() {
    let paths = Set(PoisonousRequests.enums.map(\.path))
    for path in ["/v3/kv/range", "/v3/kv/txn", "/v3/watch", "/v3/maintenance/alarm", "/v3/auth/role/grant"] {
      #expect(paths.contains(path))
    }
    let fields = Set(PoisonousRequests.enums.map(\.field))
    #expect(fields.contains("success[0].request_txn.success[0].request_range.sort_target: "))
    #expect(fields.contains("create_request.filters[0]: "))
  }

  /// Similar requests that do no harm.
  @Test(arguments: versions)
  func theirHarmlessSiblingsAreServed(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "Zm9v", "value": "MQ=="]))
      expectStatus(200, try await gateway.http.post("/v3/auth/role/add", ["name": "r"]))
      let member = try await gateway.http.post("/v3/cluster/member/list", "{}").json["members"]?[0]
      let id = try #require(member?["ID"]?.string)
      for (path, body) in [
        ("/v3/kv/range", #"{"key":"Zm9v","sort_target":"no such name"}"#),
        ("/v3/kv/range", #"{"key":"Zm9v","sort_target":"4","sort_order":2.0}"#),
        (
          "/v3/kv/txn",
          #"{"success":[{"request_put":{"key":"Zm9v","ignore_value":true}},"#
            + #"{"request_delete_range":{"key":"YQ==","range_end":"Yg=="}}]}"#
        ),
        (
          "/v3/kv/txn",
          #"{"success":[{"request_delete_range":{"key":"eg==","range_end":"AA=="}},{"request_put":{"key":"Zm9v","#
            + #""ignore_lease":false,"value":"MQ=="}}]}"#
        ),
        ("/v3/kv/deleterange", #"{"key":"eg==","range_end":"AA=="}"#),
        ("/v3/maintenance/alarm", #"{"action":"DEACTIVATE"}"#),
        ("/v3/maintenance/alarm", #"{"action":"ACTIVATE","alarm":"NOSPACE","memberID":"1"}"#),
        ("/v3/maintenance/alarm", #"{"action":"DEACTIVATE","alarm":"NOSPACE","memberID":"1"}"#),
        ("/v3/auth/role/grant", #"{"name":"r","perm":{"key":"YQ=="}}"#),
        ("/v3/cluster/member/update", #"{"ID":"\#(id)","peerURLs":["\#(etcd.peerURL)"]}"#),
      ] {
        let response = try await gateway.http.post(path, body)
        #expect(response.status == 200, "\(path) \(body): \(response)")
      }
      try await expectLife(etcd, gateway)
    }
  }

  /// A transaction of reads ends 3.5.1 if it is cancelled while it reads.
  @Test(arguments: versions)
  func neitherDeadlinesNorLeavingClientsCancelATransaction(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      for batch in 0..<300 {
        let puts = (0..<100).map { index -> JSON in
          ["request_put": ["key": .string("k\(batch)-\(index)".base64), "value": "MQ=="]]
        }
        expectStatus(200, try await gateway.http.post("/v3/kv/txn", ["success": .array(puts)]))
      }
      let reads = #"{"success":[{"request_range":{"key":"AA==","range_end":"AA==","sort_target":"VALUE"}}]}"#
      for milliseconds in stride(from: 1, through: 60, by: 2) {
        let hasty = try await HTTPConnection.connect(to: gateway.url)
        try await hasty.sendRequest(
          "POST", "/v3/kv/txn", headers: [("Grpc-Timeout", "\(milliseconds)m")], body: Array(reads.utf8))
        let status = try await hasty.receiveHead().status
        #expect([200, 504].contains(status))
        do {
          while try await hasty.receivePart() != nil {}
        } catch let failure as HTTPFailure where failure.isCut && status == 200 {
          // Some megabytes were under way when their time was up.
        }
        await hasty.close()
        let leaving = try await HTTPConnection.connect(to: gateway.url)
        try await leaving.sendRequest("POST", "/v3/kv/txn", body: Array(reads.utf8))
        // Somewhere within the read; whatever the time, etcd must live.
        try await Task.sleep(for: .milliseconds(milliseconds))
        await leaving.reset()
      }
      try await expectLife(etcd, gateway)
    }
  }
}

/// The member serves, and still does after it is restarted with the same data.
private func expectLife(_ etcd: EtcdProcess, _ gateway: GatewayProcess) async throws {
  expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "bGlmZQ==", "value": "MQ=="]))
  try await etcd.restart()
  _ = try await eventually("answer after a restart") {
    try await gateway.http.post("/v3/kv/range", ["key": "bGlmZQ=="]).status == 200 ? true : nil
  }
}
