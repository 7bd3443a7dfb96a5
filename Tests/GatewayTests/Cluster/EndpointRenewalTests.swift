import EtcdSchema
import Foundation
import TestSupport
import Testing

/// Endpoints that change while the gateway serves.
@Suite(.timeLimit(.minutes(15)))
struct EndpointRenewalTests {
  private static func read(_ gateway: GatewayProcess) async throws -> HTTPResponse {
    try await gateway.http.post("/v3/kv/range", ["key": "YQ=="])
  }

  private static func write(_ text: String, to path: String) throws {
    try text.write(toFile: path, atomically: true, encoding: .utf8)
  }

  @Test func aFileIsReadAgainOnSIGHUP() async throws {
    let peers = try (0..<3).map { _ in
      try ScriptedPeer { $0.path.hasPrefix("/etcdserverpb.Watch") ? .hang : .message([]) }
    }
    try await withTemporaryDirectory { folder in
      let path = "\(folder)/endpoints"
      try Self.write("# the first\n\(peers[0].endpoint)\n", to: path)
      try await withGateway([], ["--endpoints-file", path, "--shards", "2"]) { gateway in
        for _ in 0..<4 { #expect(try await Self.read(gateway).status == 200) }
        #expect(peers[0].record.streams(of: EtcdRPC.range.path).count == 4)

        try Self.write("\(peers[1].endpoint), \(peers[2].endpoint) # the others", to: path)
        gateway.process.signal(SIGHUP)
        try await peers[0].wait(for: "the end of its connections") { record in
          record.connections.allSatisfy { $0.closed != nil }
        }
        _ = try await eventually("calls at both others") { () -> Bool? in
          let response = try await Self.read(gateway)
          #expect(response.status == 200)
          return peers.dropFirst().allSatisfy { !$0.record.streams(of: EtcdRPC.range.path).isEmpty } ? true : nil
        }

        for broken in ["", "ftp://nowhere", "# nothing"] {
          let before = gateway.log.count
          try Self.write(broken, to: path)
          gateway.process.signal(SIGHUP)
          _ = try await eventually("a word about '\(broken)'") {
            gateway.log.dropFirst(before).contains("the reload failed; the old settings stay in effect") ? true : nil
          }
          #expect(try await Self.read(gateway).status == 200)
        }
        #expect(gateway.log.contains("ftp://nowhere"))
        #expect(peers[0].record.streams(of: EtcdRPC.range.path).count == 4)
      }
    }
  }

  @Test(arguments: [
    (["--endpoints", "http://127.0.0.1:1", "--endpoints-file", "/dev/null"], "give only one of them"),
    (["--endpoints-file", "/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
    (["--endpoints-file", "/dev/null"], "--endpoints-file: /dev/null"),
    (["--auto-sync-interval", "10ms"], "--auto-sync-interval must be at least 1s"),
  ])
  func whatCannotBeIsRefusedAtTheStart(arguments: [String], text: String) async throws {
    let run = try await CommandRun.etcdRest(["serve", "--listen", "127.0.0.1:0"] + arguments)
    run.expectRefusal(naming: text)
  }

  /// The members that the cluster reports replace the one given endpoint, with authentication on, too.
  @Test(arguments: EtcdVersion.allCases)
  func membersAreFound(_ version: EtcdVersion) async throws {
    try await withEtcdCluster(version, members: 3, ["--heartbeat-interval", "100", "--election-timeout", "1000"]) {
      members in
      try await members[0].enableAuth(rootPassword: AuthFixture.rootPassword)
      let arguments = ["--auto-sync-interval", "1s", "--user", AuthFixture.root]
      try await withGateway([members[0].url], arguments) { gateway in
        _ = try await eventually("calls at every member") { () -> Bool? in
          let response = try await Self.read(gateway)
          #expect(response.status == 200)
          for member in members where try await member.callsStarted(of: "Range") == 0 { return nil }
          return true
        }
        // The one that was given is not needed any more.
        await members[0].kill()
        for _ in 0..<5 { #expect(try await Self.read(gateway).status == 200) }
      }
    }
  }
}
