import Foundation
import TestSupport
import Testing

@testable import Gateway

/// The command line of `etcd-rest serve`.
@Suite(.timeLimit(.minutes(15)))
struct CommandTests {
  @Test func helpTeaches() async throws {
    let help = try await CommandRun.etcdRest("--help")
    #expect(help.exit == .code(0))
    for word in ["serve", "dev", "curl", "/keys/", "/docs", "get", "lock", "--version"] {
      #expect(help.output.contains(word), "\(word)")
    }
    let serve = try await CommandRun.etcdRest("serve", "--help")
    #expect(serve.exit == .code(0))
    let flags = [
      "--listen", "--endpoints", "--user", "--username", "--shards", "--max-request-bytes", "--dial-timeout",
      "--request-timeout", "--log-level", "ETCD_REST_", "127.0.0.1:8379", "http://127.0.0.1:2379",
    ]
    for flag in flags { #expect(serve.output.contains(flag), "\(flag)") }
    let order = ["\n  --endpoints ", "\n  --listen ", "\n  --user", "\n  --max-memory "].map {
      serve.output.firstRange(of: $0)?.lowerBound
    }
    #expect(!order.contains(nil) && order.compactMap(\.self) == order.compactMap(\.self).sorted(), "\(serve.output)")
    let dev = try await CommandRun.etcdRest("dev", "--help")
    #expect(dev.exit == .code(0))
    for flag in ["--listen", "--data-dir", "--etcd", "--auth"] { #expect(dev.output.contains(flag), "\(flag)") }
  }

  /// Without a commit if it was not built by the Makefile.
  @Test func theVersionSaysWhatItIsMadeOf() async throws {
    let version = try await CommandRun.etcdRest("--version")
    #expect(version.exit == .code(0))
    #expect(
      version.output.wholeMatch(
        of: /etcd-rest \d+\.\d+\.\d+ \(([0-9a-f]{12}(-dirty)?|unknown commit), Linux \w+, Swift 6\.\d+[ a-z]*\)\n/)
        != nil,
      "\(version.output)")
  }

  @Test(arguments: [
    (["serve", "--frobnicate"], "--frobnicate"),
    (["frobnicate"], "frobnicate"),
    (["serve", "--listen", "127.0.0.1"], "127.0.0.1"),
    (["serve", "--listen", "127.0.0.1:99999"], "99999"),
    (["serve", "--listen", "no.such.host.invalid:0"], "no.such.host.invalid"),
    (["serve", "--listen", "192.0.2.1:0"], "192.0.2.1"),
    (["serve", "--endpoints", "ftp://127.0.0.1:1"], "ftp"),
    (["serve", "--endpoints", "http://"], "http://"),
    (["serve", "--endpoints", "http://127.0.0.1:99999"], "99999"),
    (["serve", "--endpoints", "http://127.0.0.1:2379/v3"], "/v3"),
    (["serve", "--endpoints", "127.0.0.1:2379,"], "endpoint"),
    (["serve", "--endpoints", ""], "endpoint"),
    (["serve", "--shards", "0"], "shards"),
    (["serve", "--shards", "many"], "many"),
    (["serve", "--request-timeout", "soon"], "soon"),
    (["serve", "--dial-timeout", "-1s"], "dial-timeout"),
    (["serve", "--max-request-bytes", "-1"], "max-request-bytes"),
    (["serve", "--max-txn-ops", "0"], "max-txn-ops"),
    (["serve", "--idle-timeout", "0x5s"], "0x5s"),
    (["serve", "--log-level", "loud"], "loud"),
    (["serve", "--user", ":password"], "user"),
    (["serve", "--user", "ann"], "password"),
  ])
  func whatItDoesNotUnderstandItRefuses(arguments: [String], word: String) async throws {
    let run = try await CommandRun.etcdRest(arguments)
    run.expectRefusal(naming: word)
  }

  @Test(arguments: [
    ["ETCD_REST_SHARDS": "many"], ["ETCD_REST_ENDPOINTS": "ftp://127.0.0.1:1"], ["ETCD_REST_LISTEN": "nowhere"],
    ["ETCD_REST_REQUEST_TIMEOUT": "soon"],
  ])
  func whatItDoesNotUnderstandOfTheEnvironmentItRefuses(environment: [String: String]) async throws {
    let standard = ["ETCD_REST_LISTEN": "127.0.0.1:0"]
    let run = try await CommandRun.etcdRest("serve", environment: standard.merging(environment) { $1 })
    run.expectRefusal(naming: environment.values.first ?? "")
  }

  @Test func anErrorShowsTheUsageOfItsCommand() async throws {
    for (arguments, usage) in [
      (["serve", "--endpoints", "ftp://x"], "etcd-rest serve "),
      (["check", "--dial-timeout", "0"], "etcd-rest check "),
      (["lease", "grant", "0"], "etcd-rest lease grant "), (["get", ""], "etcd-rest get "),
      (["serve", "--frobnicate"], "etcd-rest serve "),
    ] {
      let run = try await CommandRun.etcdRest(arguments)
      #expect(run.exit == .code(64))
      #expect(run.errorOutput.contains("Usage: \(usage)"), "\(run.errorOutput)")
      #expect(run.errorOutput.contains("'\(usage)--help'"), "\(run.errorOutput)")
    }
  }

  @Test func timesAndSizesSayWhatTheyTake() async throws {
    for arguments in [
      ["serve", "--dial-timeout", "soon"], ["lease", "grant", "soon"], ["get", "--command-timeout", "x"],
    ] {
      try await CommandRun.etcdRest(arguments).expectRefusal(naming: "500ms, 30s, 5m or 1h")
    }
    try await CommandRun.etcdRest("serve", "--max-memory", "much").expectRefusal(naming: "512M")
    let run = try await CommandRun.etcdRest("serve", environment: ["ETCD_REST_DIAL_TIMEOUT": "soon"])
    run.expectRefusal(naming: "500ms, 30s, 5m or 1h")
  }

  @Test func shellsCompleteCommandsFilesAndValues() async throws {
    for shell in ["bash", "zsh", "fish"] {
      let script = try await CommandRun.etcdRest("--generate-completion-script", shell)
      #expect(script.exit == .code(0))
      for word in ["lock", "timetolive", "password-file", "critical"] {
        #expect(script.output.contains(word), "\(shell): \(word)")
      }
    }
  }

  @Test func variablesThatMeanNothingAreWarnedOf() throws {
    let page = try String(contentsOfFile: "\(packageRoot)/docs/flags.md", encoding: .utf8)
    let flags = page.split(separator: "\n").filter { $0.hasPrefix("| `--") }.flatMap { line in
      line.split(separator: " | ")[0].matches(of: /--[a-z-]+/).map { $0.output }
    }
    #expect(flags.count > 50)
    let known = flags.map { CommandEnvironment.name(of: String($0.dropFirst(2))) } + ["ETCD_REST_PASSWORD"]
    // Variables that Kubernetes makes for a service called etcd-rest, and others that are not the gateway's.
    let others = [
      "ETCD_REST_SERVICE_HOST", "ETCD_REST_SERVICE_PORT_HTTP", "ETCD_REST_PORT", "ETCD_REST_PORT_8379_TCP_ADDR", "PATH",
      "ETCDCTL_API", "ETCD_RESTORE",
    ]
    #expect(CommandEnvironment.warnings(of: known + others).isEmpty)
    #expect(
      CommandEnvironment.warnings(of: ["ETCD_REST_LISTN", "ETCD_REST_XXXXXXXXXXXX"]) == [
        "unknown environment variable ETCD_REST_LISTN; did you mean ETCD_REST_LISTEN?",
        "unknown environment variable ETCD_REST_XXXXXXXXXXXX",
      ])
  }

  @Test func whatMayNotBeMeantIsWarnedOf() async throws {
    let peer = try ScriptedPeer { _ in .failure(3, "etcdserver: user name is empty") }
    let open = ["--listen", "0.0.0.0:0", "--user", "ann:annpw", "--insecure-skip-tls-verify"]
    try await withGateway([peer.endpoint], open, environment: ["ETCD_REST_ENDPOINT": "x"]) { gateway in
      for text in [
        "unknown environment variable ETCD_REST_ENDPOINT; did you mean ETCD_REST_ENDPOINTS?",
        "--insecure-skip-tls-verify",
        "every client that reaches http://0.0.0.0:0 is this user to etcd, without a password user=ann",
        "http://0.0.0.0:0 has no TLS: clients",
      ] {
        try await gateway.expectLogged(text)
      }
      #expect(!gateway.log.contains("annpw"))
    }
    try await withGateway([peer.endpoint], ["--listen", "127.0.0.1:0", "--user", "ann:annpw"]) { gateway in
      expectStatus(200, try await gateway.http.get("/readyz"))
      // Except a possible warning about the library (Debian 13).
      let warnings = gateway.log.split(separator: "\n").filter {
        $0.contains("warning") && !$0.contains("libmicrohttpd")
      }
      #expect(warnings == [])
    }
  }

  @Test func aPasswordMayBeInAFile() async throws {
    try await withTemporaryDirectory { directory in
      try Data("annpw\r\nnot this".utf8).write(to: URL(fileURLWithPath: "\(directory)/password"))
      let peer = try ScriptedPeer { call in
        guard call.path == RPCPath.authenticate else { return .put }
        // A message with the fields name and password.
        return call.message == [10, 3] + Array("ann".utf8) + [18, 5] + Array("annpw".utf8)
          ? .message([18, 1, 116]) : .failure(3, "etcdserver: authentication failed, invalid user ID or password")
      }
      let identity = ["--user", "ann", "--password-file", "\(directory)/password"]
      try await withGateway([peer.endpoint], identity) { gateway in
        expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "YQ=="]))
      }
      for (arguments, word) in [
        (["--password-file", "\(directory)/password"], "--user"),
        (["--user", "ann:x", "--password-file", "\(directory)/password"], "--password-file"),
        (["--user", "ann", "--password-file", "\(directory)/none"], "\(directory)/none"),
      ] {
        try await CommandRun.etcdRest(["serve"] + arguments).expectRefusal(naming: word)
      }
    }
  }

  @Test func aPortInUseIsRefused() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    let run = try await CommandRun.etcdRest("serve", "--listen", "127.0.0.1:\(peer.port)")
    run.expectRefusal(naming: "\(peer.port)")
    #expect(run.errorOutput.lowercased().contains("in use"), "\(run.errorOutput)")
  }

  @Test func aPortOfAnotherGatewayIsRefused() async throws {
    try await withScriptedEtcd(script: { _ in .range }) { _, gateway in
      let address = gateway.url.replacing("http://", with: "")
      let run = try await CommandRun.etcdRest("serve", "--listen", address)
      run.expectRefusal(naming: address)
    }
  }

  @Test func anEtcdThatIsDownIsAWarningAndReadinessFollowsIt() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await etcd.stop()
      try await withGateway([etcd.url], ["--dial-timeout", "500ms"]) { gateway in
        expectStatus(200, try await gateway.http.get("/livez"))
        expectStatus(503, try await gateway.http.get("/readyz"))
        _ = try await eventually("warning that names the endpoint") {
          gateway.log.contains("warning") && gateway.log.contains(etcd.url.replacing("http://", with: "")) ? true : nil
        }
        try await etcd.start()
        _ = try await eventually("readiness") { try await gateway.http.get("/readyz").status == 200 ? true : nil }
        try await etcd.stop()
        expectStatus(503, try await gateway.http.get("/readyz"))
        expectStatus(200, try await gateway.http.get("/livez"))
      }
    }
  }

  @Test func flagsMayStandInTheEnvironment() async throws {
    let peer = try ScriptedPeer { call in
      call.path == RPCPath.authenticate ? .failure(9, "etcdserver: authentication is not enabled") : .put
    }
    let environment = [
      "ETCD_REST_LISTEN": "127.0.0.1:0", "ETCD_REST_ENDPOINTS": peer.endpoint, "ETCD_REST_SHARDS": "1",
      "ETCD_REST_REQUEST_TIMEOUT": "5s", "ETCD_REST_MAX_REQUEST_BYTES": "100", "ETCD_REST_USER": "ann",
      "ETCD_REST_PASSWORD": "annpw",
    ]
    try await withServing([try GatewayProcess.program, "serve"], environment: environment) { process, http in
      #expect(!http.url.hasSuffix(":0"))
      expectStatus(200, try await http.post("/v3/kv/put", ["key": "YQ=="]))
      expectError(try await http.post("/v3/kv/put", String(repeating: " ", count: 101)), 413)
      #expect(peer.record.streams(of: RPCPath.put).map(\.timeoutMilliseconds) == [5000])
      #expect(peer.record.streams(of: RPCPath.authenticate).count == 1)
      process.signal(SIGTERM)
      #expect(try await process.exit() == .code(0))
    }
  }

  @Test(arguments: [SIGTERM, SIGINT])
  func requestsUnderWayAreFinishedWhenItIsToldToStop(signal: Int32) async throws {
    let gate = ScriptedPeer.Gate()
    let peer = try ScriptedPeer { _ in ScriptedPeer.Answer.put.after(gate) }
    try await withServing(try serve(peer)) { process, http in
      let idle = try await HTTPConnection.connect(to: http.url)
      async let response = http.post("/v3/kv/put", ["key": "YQ=="])
      try await peer.wait(for: "the call") { $0.streams.count == 1 }
      process.signal(signal)
      _ = try await eventually("closed port") { () -> Bool? in
        do {
          try await HTTPConnection.connect(to: http.url).close()
          return nil
        } catch HTTPFailure.refused {
          return true
        } catch HTTPFailure.reset {
          // The kernel has accepted it, then it was lost with the port: that does not prove that the port is closed.
          return nil
        }
      }
      #expect(process.exited == nil)
      gate.open()
      expectStatus(200, try await response)
      #expect(try await process.exit() == .code(0))
      try await idle.receiveClose()
    }
  }

  @Test(arguments: [SIGTERM, SIGINT])
  func itCanBeToldToStopAsSoonAsItSaysThatItServes(signal: Int32) async throws {
    let peer = try ScriptedPeer { _ in .hang }
    for _ in 0..<5 {
      try await withServing(try serve(peer)) { process, _ in
        process.signal(signal)
        let exit = try await process.exit()
        #expect(exit == .code(0))
      }
    }
  }

  @Test func aConnectionWithoutARequestDoesNotHoldItUp() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    try await withServing(try serve(peer)) { process, http in
      let idle = try await HTTPConnection.connect(to: http.url)
      let used = try await HTTPConnection.connect(to: http.url)
      expectStatus(200, try await used.get("/livez"))
      process.signal(SIGTERM)
      #expect(try await process.exit() == .code(0))
      for connection in [idle, used] { try await connection.receiveClose() }
    }
  }

  @Test func requestsThatDoNotEndDoNotHoldItUp() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    try await withServing(try serve(peer) + ["--shutdown-timeout", "500ms"]) { process, http in
      let connection = try await HTTPConnection.connect(to: http.url)
      try await connection.send("POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
      try await peer.wait(for: "the call") { $0.streams.count == 1 }
      process.signal(SIGTERM)
      #expect(try await process.exit() == .code(0))
    }
  }

  private func serve(_ peer: ScriptedPeer) throws -> [String] {
    [try GatewayProcess.program, "serve", "--listen", "127.0.0.1:0", "--endpoints", peer.endpoint]
  }
}
