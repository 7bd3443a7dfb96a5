import EtcdSchema
import TestSupport
import Testing

/// Transactions whose clients have disconnected run to their end at etcd.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct LeftTransactionTests {
  @Test func oneAddressThatLeavesItsTransactionsIsRefusedAlone() async throws {
    let script: ScriptedPeer.Script = { call in
      call.path == RPCPath.range ? .range : call.attempt <= 100 ? .hang : .message([])
    }
    try await withScriptedEtcd(gateway: ["--trusted-proxies", "127.0.0.1"], script: script) { peer, gateway in
      func headers(_ client: Int) -> [(String, String)] { [("X-Forwarded-For", "192.0.2.\(client)")] }
      var connections: [HTTPConnection] = []
      for _ in 0..<100 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", "/v3/kv/txn", headers: headers(1), body: Array("{}".utf8))
        connections.append(connection)
      }
      try await peer.wait(for: "all transactions") { $0.streams(of: EtcdRPC.txn.path).count == 100 }
      for connection in connections { await connection.reset() }
      let refusal = try await eventually("a refusal") {
        let answer = try await gateway.http.post("/v3/kv/txn", "{}", headers: headers(1))
        return answer.status == 429 ? answer : nil
      }
      expectError(refusal, 429, code: 8)
      expectStatus(200, try await gateway.http.post("/v3/kv/txn", "{}", headers: headers(2)))
      expectStatus(200, try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#, headers: headers(1)))
    }
  }
}
