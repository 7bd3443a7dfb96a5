import TestSupport
import Testing

/// `etcd-rest check`.
@Suite(.timeLimit(.minutes(15)))
struct CheckTests {
  private static func check(_ endpoints: [String], _ arguments: String...) async throws -> CommandRun {
    try await CommandRun.etcdRest(
      ["check", "--endpoints", endpoints.joined(separator: ","), "--dial-timeout", "2s"] + arguments)
  }

  private static func expect(_ run: CommandRun, _ code: Int32, _ lines: [String]) {
    #expect(run.exit == .code(code), "\(run.output)\(run.errorOutput)")
    for line in lines {
      #expect(run.output.split(separator: "\n").contains { $0.hasPrefix(line) }, "no '\(line)' in:\n\(run.output)")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aMemberThatIsWell(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let well = [
        etcd.url, "  ok    reached  gRPC answers", "  -     TLS      none", "  ok    clock    the same as here",
        "  ok    quorum   ", "  ok    version  \(version), a database of ", "  ok    leader   this member, term ",
      ]
      Self.expect(try await Self.check([etcd.url]), 0, well + ["  ok    auth     off"])

      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      Self.expect(try await Self.check([etcd.url], "--user", AuthFixture.root), 0, well + ["  ok    auth     on; root"])
      Self.expect(try await Self.check([etcd.url]), 0, ["  -     auth     on; there is no --user"])
      Self.expect(
        try await Self.check([etcd.url], "--user", "root:wrong"), 1,
        ["  FAIL  auth     on; root cannot log in: etcdserver: authentication failed, invalid user ID or password"])
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whatTLSHasToSay(_ version: EtcdVersion) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let server = try authority.issue("server")
      let client = try authority.issue("client", for: [])
      let tls = EtcdTLS(server, clientAuthorities: authority.certificate)
      try await withEtcd(version, tls: tls) { etcd in
        let url = etcd.secureURL()
        let run = try await Self.check(
          [url], "--cacert", authority.certificate, "--cert", client.certificate, "--key", client.key)
        Self.expect(
          run, 0,
          [url, "  ok    reached  ", "  ok    TLS      TLSv1.", "  ok    clock    ", "  ok    leader   this member"])
        #expect(run.output.contains("O=tests of etcd-rest, good until "), "\(run.output)")

        let distrustful = try await Self.check([url])
        Self.expect(
          distrustful, 1, ["  FAIL  reached  no connection to etcd: \(url.dropFirst(8)): certificate verify failed: "])
      }
    }
  }

  @Test func membersThatAreNot() async throws {
    let silent = try ScriptedPeer(settings: .init()) { _ in .hang }
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let closed = try ScriptedPeer(settings: settings) { _ in .hang }
    defer {
      silent.stop()
      closed.stop()
    }
    let run = try await Self.check([closed.endpoint, silent.endpoint, "nowhere.invalid:2379"])
    Self.expect(
      run, 1,
      [
        "  FAIL  reached  no connection to etcd: 127.0.0.1:\(closed.port): connection refused",
        "  FAIL  reached  etcd did not answer within 4000 ms",
        "  FAIL  reached  no connection to etcd: nowhere.invalid:2379: the name does not resolve",
        "3 of 3 endpoints failed",
      ])
  }

  @Test func aClusterWithoutAQuorumAndAnotherOne() async throws {
    try await withEtcdCluster(.v3_5, members: 3) { members in
      try await withEtcd(.v3_5) { other in
        let both = try await Self.check([members[0].url, other.url])
        Self.expect(both, 1, ["FAIL  these are members of 2 clusters: "])

        await members[1].kill()
        await members[2].kill()
        _ = try await eventually("the loss of the leader") {
          try await members[0].call("/v3/maintenance/status")["leader"] == nil ? true : nil
        }
        let alone = try await Self.check([members[0].url])
        Self.expect(alone, 1, ["  ok    reached  ", "  FAIL  quorum   ", "  FAIL  leader   none"])
      }
    }
  }

  @Test func whatCannotBeIsRefused() async throws {
    try await CommandRun.etcdRest("check", "--endpoints", "ftp://x").expectRefusal(naming: "ftp://x")
    try await CommandRun.etcdRest("check", "--cacert", "/no/such/file").expectRefusal(naming: "/no/such/file")
    try await CommandRun.etcdRest("check", "--dial-timeout", "0").expectRefusal(naming: "--dial-timeout")
  }
}
