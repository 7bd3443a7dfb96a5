import EtcdSchema
import TestSupport
import Testing

/// Answers that etcd would not give, in the protobuf of each kind of request, in the headers and in the framing: each
/// is an error of that request alone, and the gateway lives on.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct HostileAnswerTests {
  @Test func aKey() async throws { try await expect(HostileAnswer.keys) }
  @Test func aCall() async throws { try await expect(HostileAnswer.calls) }
  @Test func aStream() async throws { try await expect(HostileAnswer.streams) }

  /// All of them through one gateway, one after the other, beside a call that waits on the same connection.
  private func expect(_ answers: [HostileAnswer]) async throws {
    let gate = ScriptedPeer.Gate()
    for answer in answers {
      try await withScriptedEtcd(
        gateway: ["--suspect-after", "60s", "--dial-timeout", "3s"],
        script: { call in
          if call.path == answer.rpc { return answer.answer }
          switch call.path {
          case EtcdRPC.userList.path: return ScriptedPeer.Answer.message([]).after(gate)
          case RPCPath.range: return .range
          default: return .message([])
          }
        },
        logIn: { _, _ in answer.rpc == RPCPath.authenticate ? answer.answer : nil }
      ) { peer, gateway in
        async let neighbour = gateway.http.post("/v3/auth/user/list", "{}")
        try await peer.wait(for: "the neighbour") { !$0.streams(of: EtcdRPC.userList.path).isEmpty }
        await expect(answer, at: gateway)
        gate.open()
        let other = try await neighbour
        #expect(other.status == 200, "\(answer.name): \(other)")
        #expect(gateway.process.exited == nil, "\(answer.name)")
        expectStatus(200, try await gateway.http.get("/livez"))
      }
    }
  }

  private func expect(_ answer: HostileAnswer, at gateway: GatewayProcess) async {
    do {
      let response = try await gateway.http.request(
        answer.method, answer.path, headers: answer.headers + [("Grpc-Timeout", "10S")],
        body: answer.body.map { Array($0.utf8) })
      switch answer.outcome {
      case .status(let status):
        #expect(response.status == status, "\(answer.name): \(response)")
        #expect((try? response.json["message"]?.string)?.isEmpty == false, "\(answer.name): \(response)")
      case .cut:
        #expect(response.status == 200 && response.text.contains("sent an invalid"), "\(answer.name): \(response)")
      case .passed(let words):
        let fields = response.head.headers.map { "\($0.name): \($0.value)\n" }.joined()
        #expect(response.status == 200, "\(answer.name): \(response)")
        #expect((fields + response.text).contains(words), "\(answer.name): \(fields)\(response)")
        #expect(!response.text.contains("<script>alert"), "\(answer.name): \(response)")
      }
    } catch let failure as HTTPFailure where failure.isCut {
      // An answer that has begun and is cut.
      if case .cut = answer.outcome { return }
      Issue.record("\(answer.name): \(failure)")
    } catch {
      Issue.record("\(answer.name): \(error)")
    }
  }
}
