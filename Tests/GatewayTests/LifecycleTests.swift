import Glibc
import TestSupport
import Testing

/// How `etcd-rest serve` starts and ends as a process.
@Suite struct LifecycleTests {
  /// No process listens there: systems give out no port as low as 1.
  private static let nowhere = "http://127.0.0.1:1"

  @Test(arguments: [SIGTERM, SIGINT])
  func aSignalAtAnyTimeIsACleanEnd(_ signal: Int32) async throws {
    // As soon as it reports that it serves, a supervisor may want it to stop.
    for _ in 0..<10 {
      try await withGateway([Self.nowhere]) { gateway in
        gateway.process.signal(signal)
        let exit = try await gateway.process.exit()
        #expect(exit == .code(0))
      }
    }
  }

  /// Fewer than the gateway needs without any client: it reports that, and leaves nothing behind.
  @Test(arguments: [16, 32, 64, 96])
  func tooFewDescriptorsAreAnErrorAtTheStart(_ limit: Int) async throws {
    try await withTemporaryDirectory { directory in
      let program = try GatewayProcess.program
      let run = try await CommandRun.shell(
        "ulimit -n \(limit); exec \(program) serve --listen unix://\(directory)/socket --shards 2 --endpoints \(Self.nowhere)"
      )
      #expect(run.exit == .code(1))
      #expect(run.errorOutput.contains("descriptors are needed, and the limit is \(limit)"), "\(run.errorOutput)")
      #expect(access("\(directory)/socket", F_OK) != 0)
    }
  }

  @Test func idleConnectionsDoNotHoldUpTheEnd() async throws {
    // Far longer than the test waits.
    try await withEtcdAndGateway(.v3_5, gateway: ["--shutdown-timeout", "1h"]) { _, gateway in
      let idle = try await HTTPConnection.connect(to: gateway.url)
      #expect(try await idle.post("/v3/kv/range", ["key": "YQ=="]).status == 200)
      let silent = try await HTTPConnection.connect(to: gateway.url)
      try await gateway.stop()
      try await idle.receiveClose()
      try await silent.receiveClose()
    }
  }

  /// Load balancers see that it is no longer ready, while it serves whatever still comes.
  @Test func theEndIsAnnounced() async throws {
    let flags = ["--shutdown-delay", "10s", "--shutdown-timeout", "1h"]
    try await withEtcdAndGateway(.v3_5, gateway: flags) { _, gateway in
      let kept = try await HTTPConnection.connect(to: gateway.url)
      #expect(try await kept.request("GET", "/readyz").status == 200)
      gateway.process.signal(SIGTERM)
      _ = try await eventually("/readyz 503") {
        let answer = try await gateway.http.get("/readyz")
        guard answer.status == 503 else { return nil as Bool? }
        #expect(answer.text.contains("[-]shutdown failed: the gateway is stopping"), "\(answer.text)")
        return true
      }
      let put = try await kept.post("/v3/kv/put", ["key": "YQ=="])
      #expect(put.status == 200 && put[header: "Connection"] == "close", "\(put.head)")
      try await kept.receiveClose()
      #expect(try await gateway.http.post("/v3/kv/range", ["key": "YQ=="]).status == 200)
      let exit = try await gateway.process.exit()
      #expect(exit == .code(0))
    }
  }

  @Test func requestsUnderWayAreFinishedFirst() async throws {
    let gate = ScriptedPeer.Gate()
    let flags = ["--shutdown-timeout", "1h"]
    try await withScriptedEtcd(gateway: flags, script: { _ in ScriptedPeer.Answer.put.after(gate) }) { peer, gateway in
      async let answer = gateway.http.post("/v3/kv/put", ["key": "YQ=="])
      try await peer.wait(for: "the put") { !$0.streams(of: RPCPath.put).isEmpty }
      gateway.process.signal(SIGTERM)
      try await gateway.awaitEndOfListening()
      gate.open()
      #expect(try await answer.status == 200)
      let exit = try await gateway.process.exit()
      #expect(exit == .code(0))
    }
  }

  /// A client that waits for a lock could wait for ever: it gets an answer, can use another gateway, and nothing of it
  /// is left in the queue.
  @Test(arguments: [false, true]) func whoWaitsForALockIsNotWaitedFor(hasUsers: Bool) async throws {
    let user = hasUsers ? "root:rootpw" : nil
    try await withEtcd(.v3_5) { etcd in
      if hasUsers { try await etcd.enableAuth(rootPassword: "rootpw") }
      try await withGateway([etcd.url], ["--shutdown-timeout", "1h"]) { gateway in
        let http = gateway.http
        for path in ["lock/lock", "election/campaign"] {
          expectStatus(200, try await http.post("/v3/\(path)", ["name": .string(path.base64)], user: user))
        }
        let calls = try await (etcd.callsStarted(of: "Lock"), etcd.callsStarted(of: "Campaign"))
        async let lock = http.post("/v3/lock/lock", ["name": .string("lock/lock".base64)], user: user)
        async let campaign = http.post(
          "/v3/election/campaign", ["name": .string("election/campaign".base64)], user: user)
        _ = try await eventually("both at etcd") {
          try await (etcd.callsStarted(of: "Lock"), etcd.callsStarted(of: "Campaign")) == (calls.0 + 1, calls.1 + 1)
            ? true : nil
        }
        gateway.process.signal(SIGTERM)
        for answer in try await [lock, campaign] {
          expectError(answer, 503, code: 14, message: "the gateway is stopping")
          #expect(answer[header: "Retry-After"] == "1")
        }
        let exit = try await gateway.process.exit()
        #expect(exit == .code(0))
      }
      try await withGateway([etcd.url]) { gateway in
        _ = try await eventually("the holders alone") {
          try await gateway.http.get("/keys", user: user).json["count"] == 2 ? true : nil
        }
      }
    }
  }

  @Test func patienceWithRequestsUnderWayEnds() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shutdown-timeout", "300ms"]) { etcd, gateway in
      #expect(try await gateway.http.post("/v3/lock/lock", ["name": "bA=="]).status == 200)
      let waiting = try await HTTPConnection.connect(to: gateway.url)
      async let lock = waiting.post("/v3/lock/lock", ["name": "bA=="])
      _ = try await eventually("second lock at etcd") { try await etcd.callsStarted(of: "Lock") == 2 ? true : nil }
      try await gateway.stop()
      // A 503 or a closed connection; but not a lock.
      let status = try? await lock.status
      #expect(status != 200)
    }
  }

  /// Clients that always have the next request ready, some of which wait at etcd when the time is over.
  @Test func theEndComesUnderLoadToo() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shutdown-timeout", "300ms"]) { etcd, gateway in
      #expect(try await gateway.http.post("/v3/lock/lock", ["name": "bA=="]).status == 200)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<20 {
          group.addTask {
            guard let client = try? await HTTPConnection.connect(to: gateway.url) else { return }
            while let response = try? await client.post("/v3/kv/range", ["key": "YQ=="], user: "u\(number):x") {
              #expect([200, 503].contains(response.status))
            }
          }
          group.addTask { _ = try? await gateway.http.post("/v3/lock/lock", ["name": "bA=="]) }
        }
        _ = try await eventually("locks at etcd") { try await etcd.callsStarted(of: "Lock") == 21 ? true : nil }
        // `stop` makes sure of a clean end: no library has aborted.
        try await gateway.stop()
      }
    }
  }

  @Test func whatCannotBeServedIsOneClearLine() async throws {
    try await withGateway([Self.nowhere]) { gateway in
      let address = gateway.authority
      for (arguments, hint) in [
        (["--listen", address], address), (["--listen", "nonsense"], "nonsense"),
        (["--endpoints", "ftp://x"], "ftp://x"), (["--endpoints", "http://127.0.0.1:0x1"], "0x1"),
        (["--request-timeout", "soon"], "soon"),
      ] {
        let listen = arguments[0] == "--listen" ? [] : ["--listen", "127.0.0.1:0"]
        let (exit, output, errorOutput) = try await runGateway(["serve"] + listen + arguments)
        #expect(exit != .code(0), "\(arguments)")
        if case .signal = exit { Issue.record("\(arguments): crashed: \(errorOutput)") }
        #expect(output.isEmpty, "\(arguments)")
        let errors = errorOutput.split(separator: "\n").filter { $0.lowercased().hasPrefix("error") }
        #expect(errors.count == 1 && errors[0].contains(hint), "\(arguments): \(errorOutput)")
      }
    }
  }
}
