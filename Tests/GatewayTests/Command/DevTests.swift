import Foundation
import TestSupport
import Testing

/// `etcd-rest dev`: an etcd of its own and a gateway in front of it.
@Suite(.timeLimit(.minutes(15)))
struct DevTests {
  /// A running `dev`, with a folder as its `TMPDIR`.
  private struct Dev {
    let process: ChildProcess
    let http: HTTPClient
    /// The process of its etcd.
    let etcd: Int32
    let temporaryFolder: String

    var temporaryFiles: [String] { (try? FileManager.default.contentsOfDirectory(atPath: temporaryFolder)) ?? [] }

    func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) async throws {
      _ = try await eventually("end of etcd \(etcd)") { ProcessTable.isAlive(etcd) ? nil : true }
      #expect(temporaryFiles.isEmpty, "\(temporaryFiles)", sourceLocation: sourceLocation)
    }
  }

  private func withDev(
    _ version: EtcdVersion, _ arguments: [String] = [], leader: [String] = [], body: (Dev) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { temporaryFolder in
      let command = [
        try GatewayProcess.program, "dev", "--listen", "127.0.0.1:0", "--etcd", try version.program("etcd"),
      ]
      try await withServing(leader + command + arguments, environment: ["TMPDIR": temporaryFolder]) { process, http in
        let etcd = ProcessTable.children(of: process.pid).first { process in
          ProcessTable.arguments(of: process).first?.hasSuffix("etcd") == true
        }
        try await body(
          Dev(process: process, http: http, etcd: try #require(etcd), temporaryFolder: temporaryFolder))
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases, [nil, "rootpw"])
  func itsThreeLinesOfCurlWork(version: EtcdVersion, password: String?) async throws {
    try await withDev(version, password.map { ["--auth", $0] } ?? []) { dev in
      let lines = try await eventually("three lines of curl") { () -> [String]? in
        let lines = dev.process.output.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        let commands = lines.filter { $0.hasPrefix("curl ") }
        return commands.count == 3 ? commands : nil
      }
      for line in lines {
        let run = try await CommandRun.shell("curl -sS --fail-with-body \(line.dropFirst(5))")
        #expect(run.exit == .code(0), "\(line): \(run.output)\(run.errorOutput)")
        #expect(!run.output.isEmpty, "\(line)")
      }
      let anonymous = try await dev.http.post("/v3/kv/range", ["key": "YQ=="])
      if let password {
        expectChallenge(anonymous)
        expectStatus(200, try await dev.http.post("/v3/kv/range", ["key": "YQ=="], user: "root:\(password)"))
      } else {
        expectStatus(200, anonymous)
      }
      let urls = ProcessTable.arguments(of: dev.etcd).filter { $0.contains("://") }
      let ports = urls.flatMap { url in url.matches(of: /:([0-9]+)/).compactMap { Int($0.output.1) } }
      #expect(ports.count >= urls.count && ports.allSatisfy { ![2379, 2380].contains($0) }, "\(urls)")
      dev.process.signal(SIGTERM)
      #expect(try await dev.process.exit() == .code(0))
      try await dev.expectNothingLeft()
    }
  }

  @Test func controlCStopsBoth() async throws {
    // As a terminal does: to all processes of the group at once.
    try await withDev(.v3_5, leader: ["/usr/bin/setsid"]) { dev in
      #expect(!dev.temporaryFiles.isEmpty)
      kill(-dev.process.pid, SIGINT)
      #expect(try await dev.process.exit() == .code(0), "\(dev.process.errorOutput)")
      try await dev.expectNothingLeft()
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aKilledGatewayLeavesNoEtcd(version: EtcdVersion) async throws {
    try await withDev(version) { dev in
      #expect(ProcessTable.isAlive(dev.etcd))
      await dev.process.killAndWait()
      _ = try await eventually("end of etcd \(dev.etcd)") { ProcessTable.isAlive(dev.etcd) ? nil : true }
    }
  }

  @Test(arguments: [SIGKILL, SIGTERM])
  func itEndsWithItsEtcdAndSaysWhy(signal: Int32) async throws {
    try await withDev(.v3_5) { dev in
      kill(dev.etcd, signal)
      let exit = try await dev.process.exit()
      guard case .code(let code) = exit, code != 0 else {
        Issue.record("ended with \(exit)")
        return
      }
      let last = dev.process.errorOutput.split(separator: "\n").last ?? ""
      #expect(last.contains("etcd") && last.contains(signal == SIGKILL ? "9" : "etcd"), "\(dev.process.errorOutput)")
      try await dev.expectNothingLeft()
    }
  }

  @Test func dataInAFolderOfOnesOwnStays() async throws {
    try await withTemporaryDirectory { folder in
      let arguments = ["--data-dir", "\(folder)/data", "--auth", "rootpw"]
      try await withDev(.v3_5, arguments) { dev in
        expectStatus(
          200, try await dev.http.post("/v3/kv/put", ["key": "YQ==", "value": "MQ=="], user: "root:rootpw"))
        dev.process.signal(SIGTERM)
        #expect(try await dev.process.exit() == .code(0))
      }
      try await withDev(.v3_5, arguments) { dev in
        let range = try await dev.http.post("/v3/kv/range", ["key": "YQ=="], user: "root:rootpw")
        #expect(try range.json["count"] == "1", "\(range)")
      }
    }
  }

  @Test func withoutAnEtcdItSaysSo() async throws {
    let run = try await CommandRun.etcdRest("dev", "--listen", "127.0.0.1:0", "--etcd", "/no/such/etcd")
    run.expectRefusal(naming: "/no/such/etcd")
    let wrong = try await CommandRun.etcdRest("dev", "--listen", "127.0.0.1:0", "--etcd", "/bin/false")
    wrong.expectRefusal(naming: "exit code 1")
  }

  @Test func aPortInUseLeavesNothing() async throws {
    let peer = try ScriptedPeer { _ in .hang }
    try await withTemporaryDirectory { folder in
      let run = try await CommandRun.etcdRest(
        "dev", "--listen", "127.0.0.1:\(peer.port)", "--etcd", try EtcdVersion.v3_5.program("etcd"),
        environment: ["TMPDIR": folder])
      run.expectRefusal(naming: "\(peer.port)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }
  }
}
