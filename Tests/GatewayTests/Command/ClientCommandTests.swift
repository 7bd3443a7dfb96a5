import Foundation
import TestSupport
import Testing

/// `etcd-rest get`, `put`, `del`, `watch`, `lease` and `lock`, beside etcdctl.
@Suite(.timeLimit(.minutes(15)))
struct ClientCommandTests {
  /// A cluster with authentication on, as user ann sees it with either program.
  private struct Client {
    let etcd: EtcdProcess

    private var flags: [String] { ["--endpoints", etcd.url, "--user", "ann:annpw"] }

    func run(_ arguments: [String]) async throws -> CommandRun {
      let commands = arguments[0] == "lease" ? 2 : 1
      return try await CommandRun.etcdRest(arguments.prefix(commands) + flags + arguments.dropFirst(commands))
    }

    /// Runs a command that succeeds.
    @discardableResult
    func output(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
      let run = try await run(arguments)
      #expect(run.exit == .code(0), "\(arguments): \(run.output)\(run.errorOutput)", sourceLocation: sourceLocation)
      return run.output
    }

    /// Expects that a command fails, and with which message.
    func expectFailure(
      _ arguments: String..., naming text: String, output: String = "",
      sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
      let run = try await run(arguments)
      #expect(run.exit == .code(1) && run.output == output, "\(run)", sourceLocation: sourceLocation)
      #expect(run.errorOutput.contains(text), "\(run.errorOutput)", sourceLocation: sourceLocation)
    }

    /// Starts a command whose output grows, and ends it afterwards.
    func withRunning(_ program: Program, _ arguments: [String], _ body: (ChildProcess) async throws -> Void)
      async throws
    {
      try await withTemporaryDirectory { directory in
        let path = try program == .etcdRest ? GatewayProcess.program : etcd.version.program("etcdctl")
        let process = try await ChildProcess.start(
          path, arguments.prefix(1) + flags + arguments.dropFirst(), environment: ["ETCDCTL_API": "3"],
          output: "\(directory)/out", error: "\(directory)/err")
        do {
          try await body(process)
        } catch {
          await process.killAndWait()
          throw error
        }
        await process.killAndWait()
      }
    }

    func etcdctl(_ arguments: String...) async throws -> String {
      let run = try await CommandRun.run(
        etcd.version.program("etcdctl"), arguments.prefix(1) + flags + arguments.dropFirst(),
        environment: ["ETCDCTL_API": "3"])
      #expect(run.exit == .code(0), "\(run)")
      return run.output
    }
  }

  private enum Program: CaseIterable { case etcdRest, etcdctl }

  private func withClient(_ version: EtcdVersion, _ body: (Client) async throws -> Void) async throws {
    try await withEtcd(version) { etcd in
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      let fixture = AuthFixture(etcd: etcd)
      try await fixture.addRole()
      try await fixture.addUser("ann", password: "annpw")
      try await body(Client(etcd: etcd))
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func keysAreReadAndWrittenAsByEtcdctl(_ version: EtcdVersion) async throws {
    try await withClient(version) { client in
      #expect(try await client.output("put", "a/1", "one") == "OK\n")
      #expect(try await client.output("put", "a/2", "two", "--json") == "{\"revision\":3}\n")
      #expect(try await client.output("put", "b", "--", "-5") == "OK\n")
      for arguments in [["a/1"], ["a/", "--prefix"], ["a/2", "--from-key"], ["a/2", "b"]] {
        let ours = try await client.run(["get"] + arguments)
        #expect(
          ours.output
            == (try await CommandRun.run(
              client.etcd.version.program("etcdctl"),
              ["get", "--endpoints", client.etcd.url, "--user", "ann:annpw"] + arguments,
              environment: ["ETCDCTL_API": "3"])).output)
        #expect(!ours.output.isEmpty)
      }
      #expect(try await client.output("get", "b", "--print-value-only") == "-5\n")
      #expect(
        try await client.output("get", "a/1", "--json")
          == "{\"key\":\"a/1\",\"value\":\"one\",\"create_revision\":2,\"mod_revision\":2,\"version\":1,\"lease\":\"0\"}\n"
      )
      #expect(try await client.output("get", "a/", "--prefix", "--json").split(separator: "\n").count == 2)
      #expect(try await client.output("get", "", "--prefix", "--limit", "1", "--keys-only") == "a/1\n")
      try await client.expectFailure("get", "none", naming: "key not found")
      #expect(try await client.output("get", "none", "--prefix") == "")

      #expect(try await client.output("del", "a/1", "--prev-kv") == "1\na/1\none\n")
      #expect(try await client.output("del", "a/", "--prefix", "--json") == "{\"deleted\":1,\"revision\":6}\n")
      try await client.expectFailure("del", "a/1", naming: "key not found", output: "0\n")
      #expect(try await client.output("get", "a/1", "--rev", "3", "--print-value-only") == "one\n")
      try await client.expectFailure("get", "a", "--user", "ann:wrong", naming: "authentication failed")
    }
  }

  /// More than one page of them, all as they were at one revision.
  @Test func allKeysOfALargeRangeArePrinted() async throws {
    try await withClient(.v3_5) { client in
      for first in stride(from: 0, to: 2100, by: 100) {
        let puts: [JSON] = (first..<first + 100).map { number in
          ["requestPut": ["key": .string("k/\(10_000 + number)".base64), "value": "eA=="]]
        }
        try await AuthFixture(etcd: client.etcd).asRoot("/v3/kv/txn", ["success": .array(puts)])
      }
      let lines = try await client.output("get", "k/", "--prefix", "--keys-only").split(separator: "\n")
      #expect(lines.map(String.init) == (0..<2100).map { "k/\(10_000 + $0)" })
      #expect(
        try await client.output("get", "k/", "--prefix", "--limit", "1500", "--json").split(separator: "\n").count
          == 1500)
    }
  }

  @Test func bytesComeFromStandardInput() async throws {
    try await withClient(.v3_5) { client in
      let program = try GatewayProcess.program
      let flags = "--endpoints \(client.etcd.url) --user ann:annpw"
      let run = try await CommandRun.shell(#"printf 'a\377\000b' | \#(program) put \#(flags) bin"#)
      #expect(run.output == "OK\n", "\(run)")
      #expect(try await client.output("get", "bin", "--json").contains(#""value_base64":"Yf8AYg==""#))
      let large = try await CommandRun.shell("head -c 3000000 /dev/zero | \(program) put \(flags) bin")
      #expect(large.exit == .code(1) && large.errorOutput.contains("2097152"), "\(large)")
      let other = try await CommandRun.shell(#"\#(program) get \#(flags) "$(printf '\377')""#)
      #expect(other.exit == .code(64) && other.errorOutput.contains("not UTF-8"), "\(other)")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func changesArePrintedAsTheyCome(_ version: EtcdVersion) async throws {
    try await withClient(version) { client in
      try await client.output("put", "w/a", "1")
      try await client.withRunning(.etcdRest, ["watch", "w/", "--prefix", "--json", "--rev", "2"]) { json in
        try await client.withRunning(.etcdRest, ["watch", "w/", "--prefix"]) { text in
          // The watch has begun when new changes are printed.
          _ = try await eventually("the watch") {
            try await client.output("put", "w/a", "2")
            return text.output.isEmpty ? nil : true
          }
          try await client.output("del", "w/a")
          _ = try await eventually("the deletion") { text.output.hasSuffix("DELETE\nw/a\n\n") ? true : nil }
          #expect(text.output.hasPrefix("PUT\nw/a\n2\n"))
          text.signal(SIGINT)
          #expect(try await text.exit() == .signal(SIGINT))
        }
        let lines = try await eventually("the deletion") { () -> [Substring]? in
          let lines = json.output.split(separator: "\n")
          return lines.last?.contains("delete") == true ? lines : nil
        }
        #expect(lines[0] == #"{"type":"progress","revision":1}"#)
        #expect(
          lines[1]
            == #"{"type":"put","key":"w/a","value":"1","create_revision":2,"mod_revision":2,"version":1,"lease":"0"}"#)
        #expect(lines.last?.hasPrefix(#"{"type":"delete","key":"w/a","mod_revision":"#) == true)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func leasesAreThoseOfEtcdctl(_ version: EtcdVersion) async throws {
    try await withClient(version) { client in
      let granted = try await client.output("lease", "grant", "60s")
      let id = try #require(granted.split(separator: " ").dropFirst().first.map(String.init))
      #expect(granted == "lease \(id) granted with TTL(60s)\n")
      try await client.output("put", "k", "v", "--lease", id)
      #expect(try await client.etcdctl("get", "k") == "k\nv\n")
      #expect(try await client.output("lease", "timetolive", id, "--keys").hasSuffix("s), attached keys([k])\n"))
      #expect(try await client.output("lease", "timetolive", id, "--keys", "--json").contains(#""keys":[{"key":"k"}]"#))
      #expect(try await client.output("lease", "list") == "found 1 leases\n\(id)\n")
      #expect(try await client.output("lease", "keep-alive", "--once", id) == "lease \(id) keepalived with TTL(60)\n")
      #expect(try await client.output("lease", "revoke", id) == "lease \(id) revoked\n")
      try await client.expectFailure("get", "k", naming: "key not found")
      try await client.expectFailure("lease", "keep-alive", "--once", id, naming: "lease not found")
      try await client.expectFailure("lease", "timetolive", id, naming: "lease not found")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aLockIsHeldWhileACommandRuns(_ version: EtcdVersion) async throws {
    try await withClient(version) { client in
      let run = try await client.run(["lock", "job", "sh", "-c", "echo $ETCD_LOCK_KEY $ETCD_LOCK_REV; exit 7"])
      #expect(run.exit == .code(7) && run.output.contains(/^job\/[0-9a-f]+ [0-9]+\n$/), "\(run)")
      let killed = try await client.run(["lock", "--ttl", "60s", "job", "--", "sh", "-c", "kill -9 $$"])
      #expect(killed.exit == .code(137), "\(killed)")
      try await client.expectFailure("lock", "job", "/no/such/program", naming: "/no/such/program")
      // Nothing is left in the queue.
      #expect(try await client.output("get", "job/", "--prefix") == "")
      #expect(try await client.output("lease", "list") == "found 0 leases\n")
    }
  }

  /// Each program waits for the other.
  @Test(arguments: EtcdVersion.allCases, Program.allCases)
  private func aLockIsThatOfEtcdctl(_ version: EtcdVersion, _ holder: Program) async throws {
    try await withClient(version) { client in
      try await client.withRunning(holder, ["lock", "job"]) { first in
        let key = try await eventually("the lock") { first.output.hasSuffix("\n") ? first.output : nil }
        try await client.expectFailure(
          "lock", "--wait", "300ms", "job", "true", naming: "another client holds the lock")
        try await client.withRunning(holder == .etcdctl ? .etcdRest : .etcdctl, ["lock", "job"]) { second in
          _ = try await eventually("two in the queue") {
            try await client.output("get", "job/", "--prefix", "--keys-only").split(separator: "\n").count == 2
              ? true : nil
          }
          #expect(second.output.isEmpty)
          first.signal(SIGINT)
          _ = try await first.exit()
          let next = try await eventually("the lock") { second.output.hasSuffix("\n") ? second.output : nil }
          #expect(next != key)
        }
      }
    }
  }

  @Test func whoeverLeavesTheQueueLeavesNothing() async throws {
    try await withClient(.v3_5) { client in
      try await client.withRunning(.etcdRest, ["lock", "job"]) { first in
        _ = try await eventually("the lock") { first.output.hasSuffix("\n") ? true : nil }
        try await client.withRunning(.etcdRest, ["lock", "job", "echo", "never"]) { second in
          _ = try await eventually("two in the queue") {
            try await client.output("get", "job/", "--prefix", "--keys-only").split(separator: "\n").count == 2
              ? true : nil
          }
          second.signal(SIGTERM)
          #expect(try await second.exit() == .code(128 + SIGTERM))
          #expect(second.output.isEmpty)
        }
        #expect(try await client.output("get", "job/", "--prefix", "--keys-only").split(separator: "\n").count == 1)
        first.signal(SIGTERM)
        #expect(try await first.exit() == .code(0))
      }
      #expect(try await client.output("lease", "list") == "found 0 leases\n")
    }
  }

  @Test func signalsArePassedOnToTheCommand() async throws {
    try await withClient(.v3_5) { client in
      let command = [
        "lock", "job", "sh", "-c", "trap 'echo told; exit 3' TERM; echo here; while :; do sleep 0.1; done",
      ]
      try await client.withRunning(.etcdRest, command) { process in
        _ = try await eventually("the command") { process.output == "here\n" ? true : nil }
        process.signal(SIGTERM)
        #expect(try await process.exit() == .code(3))
        #expect(process.output == "here\ntold\n")
      }
    }
  }

  /// A command that has lost its lock must not continue.
  @Test func aCommandEndsWithItsLock() async throws {
    try await withClient(.v3_5) { client in
      try await client.withRunning(.etcdRest, ["lock", "--ttl", "15s", "job", "sh", "-c", "echo here; exec sleep 600"])
      {
        process in
        _ = try await eventually("the command") { process.output == "here\n" ? true : nil }
        let lease = try #require(try await client.output("lease", "list").split(separator: "\n").dropFirst().first)
        try await client.output("lease", "revoke", String(lease))
        #expect(try await process.exit() == .code(1))
        #expect(process.errorOutput.contains("the lock is lost"), "\(process.errorOutput)")
      }
    }
  }

  @Test func anEtcdThatIsNotThereIsSaidAtOnce() async throws {
    var settings = ScriptedPeer.Settings()
    settings.listens = false
    let peer = try ScriptedPeer(settings: settings) { _ in .hang }
    for arguments in [["get", "a"], ["put", "a", "b"], ["del", "a"], ["lease", "list"], ["lock", "a", "true"]] {
      // A waiting command would end by its time limit, with another message.
      let run = try await CommandRun.etcdRest(
        arguments.prefix(arguments[0] == "lease" ? 2 : 1) + [
          "--endpoints", peer.endpoint, "--command-timeout", "20s",
        ] + arguments.dropFirst(arguments[0] == "lease" ? 2 : 1))
      #expect(run.exit == .code(1))
      #expect(run.errorOutput.contains("connection refused"), "\(arguments): \(run.errorOutput)")
      #expect(!run.errorOutput.contains("20000 ms"), "\(arguments): \(run.errorOutput)")
    }
    peer.listen(true)
    _ = try await eventually("the port") { try? await HTTPConnection.connect(to: peer.endpoint) }
    let run = try await CommandRun.etcdRest("get", "--endpoints", peer.endpoint, "--command-timeout", "200ms", "a")
    #expect(run.exit == .code(1) && run.errorOutput.contains("did not answer within 200 ms"), "\(run)")
  }
}
