import EtcdSchema
import TestSupport
import Testing

@Suite struct RouteTests {
  @Test func everyUnaryRouteIsCalledWithASuccessAndAnError() {
    let routes = Set(EtcdSchema().methods.filter(\.isUnary).flatMap(\.httpPaths))
    #expect(routes.count > 40)
    #expect(Set(RouteTable.all.filter(\.isSuccess).map(\.path)) == routes)
    let withError = Set(RouteTable.all.filter { !$0.isSuccess }.map(\.path))
    #expect(withError.union(RouteTable.withoutError.keys) == routes)
    #expect(withError.isDisjoint(with: RouteTable.withoutError.keys))
  }

  @Test(arguments: EtcdVersion.allCases)
  func callsToOneMember(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await run(RouteTable.alone, etcd, gateway)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func callsToALearnerAndToAPair(_ version: EtcdVersion) async throws {
    // A leader that does not hear of the other member for so long steps down.
    try await withEtcd(version, ["--heartbeat-interval", "100", "--election-timeout", "2000"]) { etcd in
      try await withJoiningMember([etcd]) { joining in
        let added = try await etcd.call(
          "/v3/cluster/member/add", ["peerURLs": [.string(joining.peerURL)], "isLearner": true])
        let learner = try #require(added.member(at: "member.ID"))
        try await joining.launch()
        try await joining.awaitAnswers()
        try await withGateway([joining.url]) { gateway in
          // All at once: each is repeated for seconds, since another member might answer.
          try await withThrowingTaskGroup { group in
            for call in RouteTable.learner { group.addTask { try await run([call], etcd, gateway) } }
            try await group.waitForAll()
          }
        }
        try await withGateway([etcd.url]) { gateway in
          try await run(RouteTable.pair, etcd, gateway, variables: ["learner": learner])
        }
      }
    }
  }

  @Test(arguments: ["/v3beta", "/v3alpha"])
  func olderPrefixesLeadToTheSameRoutes(_ prefix: String) async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      let put = try await connection.post("\(prefix)/kv/put", ["key": "YQ==", "value": "MQ=="])
      #expect(put.status == 200, "\(put)")
      let range = try await connection.post("\(prefix)/kv/range", ["key": "YQ=="])
      #expect(try range.json["count"] == "1", "\(range)")
      for path in EtcdSchema().methods.filter(\.isUnary).flatMap(\.httpPaths) {
        let response = try await connection.post(prefix + path.dropFirst("/v3".count), "[]")
        #expect(response.status == 400 && response.code == 3, "\(path): \(response)")
      }
    }
  }

  /// Sends the calls one after another on one connection and records every answer that differs from its row.
  private func run(
    _ calls: [RouteCall], _ etcd: EtcdProcess, _ gateway: GatewayProcess, variables: [String: JSON] = [:]
  ) async throws {
    var variables = variables
    let connection = try await HTTPConnection.connect(to: gateway.url)
    for call in calls {
      let response = try await eventually("readiness for \(call.path)", every: .milliseconds(50)) {
        if call.path.hasPrefix("/v3/cluster/member/") { try await settleMembership(etcd) }
        let response = try await connection.post(call.path, call.body.replacing(variables), user: call.user)
        let isOutOfTouch = response.message == "etcdserver: request timed out, possibly due to connection lost"
        return call.isPatient && response.status != 200 || isOutOfTouch ? nil : response
      }
      if let mismatch = call.mismatch(response, of: etcd.version, variables) {
        Issue.record("\(call.path) \(call.body.replacing(variables)): \(mismatch)")
      }
      for (name, path) in call.keep { variables[name] = try? response.json.member(at: path) }
    }
  }

  /// Raft drops a change of the membership, and etcd never answers it, while the one before is applied but not yet
  /// acknowledged ("possible unapplied conf change"); a write that has passed since proves that it is.
  private func settleMembership(_ etcd: EtcdProcess) async throws {
    try await etcd.call("/v3/kv/put", ["key": "c2V0dGxl"])
  }
}
