import Foundation
import TestSupport
import Testing

/// A member whose process is stopped while its system continues to acknowledge what is sent.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct FrozenMemberTests {
  private static let timers = ["--heartbeat-interval", "100", "--election-timeout", "1000"]
  /// So that no call ends by its own time limit, with 504, but only because of what the gateway finds out about the
  /// member.
  private static let limit = ("Request-Timeout", "80")
  /// For writes that may wait at the frozen member: a PING after `--suspect-after` ends them within 8 s, but the one
  /// after `--keepalive-time` would come too late for this limit. All these times are of the gateway's own clock.
  private static let shortLimit = ("Request-Timeout", "14")
  private static let lost = "the peer does not answer; the call may have been executed"

  private func put(
    _ gateway: GatewayProcess, _ key: String, limit: (String, String) = FrozenMemberTests.limit
  ) async throws -> HTTPResponse {
    try await gateway.http.post("/v3/kv/put", ["key": .string(key.base64)], headers: [limit])
  }

  private func calls(at members: [EtcdProcess]) async throws -> [Int] {
    var counts: [Int] = []
    for member in members { counts.append(try await member.callsStarted(of: "Put")) }
    return counts
  }

  /// With default flags: whatever waits at the frozen member ends with its own error, not at its time limit, and
  /// nothing else fails.
  @Test(arguments: [EtcdVersion.v3_4, .v3_5])
  func aWriteThatWaitsThereEndsInTime(_ version: EtcdVersion) async throws {
    try await withEtcdCluster(version, members: 3, Self.timers) { members in
      try await withGateway(members.map(\.url), ["--shards", "1"]) { gateway in
        for (number, member) in members.enumerated() {
          // Connections to all members, before any of them is needed.
          let before = try await calls(at: members)
          _ = try await eventually("calls at every member") { () -> Bool? in
            _ = try await put(gateway, "warm")
            return try await zip(before, calls(at: members)).allSatisfy { $0 < $1 } ? true : nil
          }
          member.pause()
          defer { member.resume() }
          // One after the other, so that they go to all members in turn.
          let answers = try await withThrowingTaskGroup(of: HTTPResponse.self, returning: [HTTPResponse].self) {
            group in
            for index in 0..<24 {
              group.addTask { try await put(gateway, "k\(number)-\(index)", limit: Self.shortLimit) }
              try await Task.sleep(for: .milliseconds(10))
            }
            return try await group.reduce(into: []) { $0.append($1) }
          }
          let failures = answers.filter { $0.status != 200 }
          #expect(failures.contains { $0.message?.hasSuffix(Self.lost) == true }, "\(failures)")
          for failure in failures {
            // The other errors are etcd's, which had no leader for a while.
            let isEtcds = failure.message?.hasPrefix("etcdserver: ") == true
            #expect(failure.status == 503, "\(failure)")
            #expect(isEtcds || failure.message?.hasSuffix(Self.lost) == true, "\(failure)")
          }
          // No call goes there any more, reads and writes alike.
          for index in 0..<6 {
            expectStatus(200, try await put(gateway, "after\(number)-\(index)"))
            expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "YQ=="], headers: [Self.limit]))
            expectStatus(200, try await gateway.http.get("/readyz"))
          }
          member.resume()
          try await member.awaitHealth()
        }
      }
    }
  }

  /// A member that is slow but answers PINGs is waited for, for longer than a silent one.
  @Test func aMemberThatAnswersPINGsIsWaitedFor() async throws {
    let gate = ScriptedPeer.Gate()
    let flags = ["--suspect-after", "2s", "--keepalive-timeout", "4s"]
    try await withScriptedEtcd(gateway: flags, script: { _ in ScriptedPeer.Answer.put.after(gate) }) { peer, gateway in
      async let put = gateway.http.post("/v3/kv/put", ["key": "YQ=="])
      // Two PINGs are six seconds apart: it was waited for far beyond the limit.
      try await peer.wait(for: "two PINGs") { record in
        record.streams(of: RPCPath.put).first.map { record.connections[$0.connection].pings >= 2 } == true
      }
      gate.open()
      expectStatus(200, try await put)
      #expect(peer.record.streams(of: RPCPath.put).count == 1)
    }
  }
}
