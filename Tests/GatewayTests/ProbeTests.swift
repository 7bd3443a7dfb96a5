import TestSupport
import Testing

/// `/version`, `/health`, `/livez` and `/readyz`, and calls, while etcd runs well and badly.
@Suite struct ProbeTests {
  @Test(arguments: EtcdVersion.allCases)
  func aHealthyEtcd(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await expectHealthy(gateway)
      let stock = try await etcd.decidedVersion()
      let answer = try await gateway.http.get("/version")
      #expect(answer.status == 200)
      for member in ["etcdserver", "etcdcluster"] { #expect(try answer.json[member] == stock[member]) }
      #expect(answer[header: "Content-Type"]?.hasPrefix("application/json") == true)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func authenticationChangesNothing(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await expectHealthy(gateway)
      #expect(try await gateway.http.get("/version").status == 200)
      // No credentials are required here, and wrong ones do no harm.
      #expect(try await gateway.http.get("/health", user: "nobody:wrong").status == 200)
      #expect(try await etcd.callsStarted(of: "Authenticate") == 0)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anAlarmIsNotHealth(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let status = try await etcd.call("/v3/maintenance/status")
      let member = try #require(status.member(at: "header.member_id"))
      try await etcd.call("/v3/maintenance/alarm", ["action": "ACTIVATE", "memberID": member, "alarm": "NOSPACE"])
      let health = try await gateway.http.get("/health")
      #expect(health.status == 503, "\(health)")
      #expect(try health.json["health"] == "false")
      #expect(try await gateway.http.get("/health?exclude=NOSPACE").status == 200)
      #expect(try await gateway.http.get("/livez").status == 200)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anEtcdThatIsGoneAndComesBack(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--dial-timeout", "3s"]) { etcd, gateway in
      try await expectHealthy(gateway)
      await etcd.kill()
      try await expectUnhealthy(gateway)
      expectError(try await gateway.http.post("/v3/kv/range", ["key": "YQ=="]), 503, code: 14, "range")
      expectError(try await gateway.http.get("/version"), 503, code: 14, "/version")
      try await etcd.start()
      // Each shard has a connection of its own to etcd, and each request goes to any shard.
      _ = try await eventually("recovery of all shards") { () -> Bool? in
        for _ in 0..<10 where try await gateway.http.post("/v3/kv/range", ["key": "YQ=="]).status != 200 { return nil }
        return true
      }
      try await expectHealthy(gateway)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anEtcdThatWasNeverThere(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      await etcd.kill()
      let arguments = ["--dial-timeout", "300ms", "--shards", "1"]
      try await withGateway([etcd.url], arguments) { gateway in
        try await expectUnhealthy(gateway)
        _ = try await eventually("warning about etcd") {
          gateway.log.contains("warning") ? true : nil
        }
        try await etcd.start()
        _ = try await eventually("readiness") { () -> Bool? in
          try await gateway.http.get("/readyz").status == 200 ? true : nil
        }
      }
    }
  }

  private func expectHealthy(_ gateway: GatewayProcess) async throws {
    let health = try await gateway.http.get("/health")
    #expect(health.status == 200, "\(health)")
    #expect(try health.json == ["health": "true", "reason": ""])
    #expect(try await gateway.http.get("/livez").status == 200)
    #expect(try await gateway.http.get("/readyz").status == 200)
  }

  private func expectUnhealthy(_ gateway: GatewayProcess) async throws {
    let health = try await gateway.http.get("/health")
    #expect(health.status == 503, "\(health)")
    #expect(try health.json["health"] == "false")
    #expect(try health.json["reason"]?.string?.isEmpty == false, "\(health)")
    let ready = try await gateway.http.get("/readyz")
    #expect(ready.status == 503, "\(ready)")
    #expect(try await gateway.http.get("/livez").status == 200)
  }
}
