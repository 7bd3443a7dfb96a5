import EtcdSchema
import TestSupport
import Testing

/// The answer to a call that etcd has executed while the memory for clients is used up.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct ExecutedAnswerTests {
  private static func value(_ bytes: Int) -> Mvccpb_KeyValue {
    .with {
      $0.key = .init("a".utf8)
      $0.value = .init(repeating: 7, count: bytes)
    }
  }

  private static let script: ScriptedPeer.Script = { call in
    guard call.path == RPCPath.put else {
      return .message(Etcdserverpb_RangeResponse.with { $0.kvs = [value(40_000)] })
    }
    let isLarge = (try? Etcdserverpb_PutRequest(serializedBytes: call.message))?.key.first == UInt8(ascii: "l")
    return .message(Etcdserverpb_PutResponse.with { $0.prevKv = value(isLarge ? 200_000 : 40_000) })
  }

  @Test func anExecutedCallIsNotOneToTryAgain() async throws {
    try await withScriptedEtcd(gateway: ["--max-memory", "1M", "--shards", "1"], script: Self.script) { _, gateway in
      let filler = try await HTTPConnection.connect(to: gateway.url)
      try await filler.sendRequest("POST", "/v3/kv/put", headers: [("Transfer-Encoding", "chunked")])
      // The first 32 KiB of a body are not counted.
      for count in Array(repeating: 65_536, count: 15) + [80_000] {
        try await filler.send("\(String(count, radix: 16))\r\n" + String(repeating: " ", count: count) + "\r\n")
      }
      _ = try await eventually("the memory is used up") {
        try await gateway.http.post("/v3/kv/range", #"{"key":"YQ=="}"#).status == 503 ? true : nil
      }
      let small = try await gateway.http.post("/v3/kv/put", ["key": .string("small".base64), "prev_kv": true])
      expectStatus(200, small)
      #expect(try small.json["prev_kv"]?["key"] == "YQ==")
      let large = try await gateway.http.post("/v3/kv/put", ["key": .string("large".base64), "prev_kv": true])
      expectError(large, 500)
      #expect(large.message?.hasPrefix("the call was executed") == true, "\(large)")
      #expect(large[header: "Retry-After"] == nil)
      await filler.close()
    }
  }
}
