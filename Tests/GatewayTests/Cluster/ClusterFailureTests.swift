import Foundation
import TestSupport
import Testing

/// What clients see while the members of a cluster fail, one after the other.
@Suite(.timeLimit(.minutes(15)))
struct ClusterFailureTests {
  private static let timers = ["--heartbeat-interval", "50", "--election-timeout", "500"]
  /// With this in the environment, what clients saw is printed, and the gateway has these flags.
  private static let measuredFlags = ProcessInfo.processInfo.environment["ETCD_REST_MEASURED_FLAGS"]?
    .split(separator: " ").map(String.init)
  /// A member that sends nothing is soon left.
  private static let flags = measuredFlags ?? ["--keepalive-time", "6s", "--keepalive-timeout", "2s"]

  enum Fault: String, CaseIterable {
    case killed
    /// SIGSTOP: its system continues.
    case stopped
    /// Neither clients nor members reach it.
    case partitioned
    /// Clients reach it, the other members do not.
    case isolated
  }

  /// No acknowledged write is lost, and none is executed twice, whichever member fails; the others go on; and in the
  /// end calls go to all members again.
  @Test(.needsNetworkNamespaces, arguments: EtcdVersion.allCases, measuredFlags == nil ? [false, true] : [false])
  func everyMemberFailsInEveryWay(_ version: EtcdVersion, isSecure: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let network = try await ClusterNetwork(members: 3)
      let authority = try TestAuthority(in: directory)
      let server = try authority.issue("server", for: network.places.map(\.address))
      let client = try authority.issue("client", for: [])
      let tls = isSecure ? EtcdTLS(server, clientAuthorities: authority.certificate) : nil
      let files = ["--cacert", authority.certificate, "--cert", client.certificate, "--key", client.key]
      try await withEtcdCluster(version, members: 3, Self.timers, network: network, tls: tls) { members in
        let endpoints = members.map { isSecure ? $0.secureURL() : $0.url }
        try await withGateway(endpoints, Self.flags + (isSecure ? files : [])) { gateway in
          let load = try await ClusterLoad.run(4, to: gateway.url) { load in
            for fault in Fault.allCases {
              for number in members.indices {
                let role = try await leader(of: members) == number ? "leader" : "follower"
                let figures = try await watch(load, fault, of: number, members, network)
                guard Self.measuredFlags != nil else { continue }
                let kind = "\(version)\(isSecure ? " mTLS" : ""), \(role) \(fault)"
                for (call, figures) in figures { print("\(kind), \(call)s: \(figures)") }
              }
            }
          }
          try await expectEachOnce(load.writes, members[0])
        }
      }
    }
  }

  /// The results of the calls from the failure of a member until calls go to it again.
  private func watch(
    _ load: ClusterLoad, _ fault: Fault, of number: Int, _ members: [EtcdProcess], _ network: ClusterNetwork
  ) async throws -> [ClusterLoad.Kind: ClusterLoad.Figures] {
    try await load.awaitMore(50)
    _ = load.takeFigures()
    try await fail(members[number], fault, network, number)
    try await load.awaitMore(200)
    // To be measured, a failure lasts for longer than the gateway waits for a silent member.
    if Self.measuredFlags != nil { try await Task.sleep(for: .seconds(12)) }
    try await mend(members[number], fault, network, number)
    try await expectCalls(at: members)
    let figures = load.takeFigures()
    // What comes next is one failure, not two: members notice after 5 s that they have lost each other's connections.
    if Self.measuredFlags != nil { try await Task.sleep(for: .seconds(8)) }
    return figures
  }

  private func fail(_ member: EtcdProcess, _ fault: Fault, _ network: ClusterNetwork, _ number: Int) async throws {
    switch fault {
    case .killed: await member.kill()
    case .stopped: member.pause()
    case .partitioned: try await network.part(number)
    case .isolated: try await network.isolate(number)
    }
  }

  private func mend(_ member: EtcdProcess, _ fault: Fault, _ network: ClusterNetwork, _ number: Int) async throws {
    switch fault {
    case .killed: try await member.start()
    case .stopped: member.resume()
    case .partitioned: try await network.join(number)
    case .isolated: try await network.reunite(number)
    }
    try await member.awaitHealth()
  }

  private func leader(of members: [EtcdProcess]) async throws -> Int {
    try await eventually("a leader that all know") {
      var leaders: Set<String> = []
      var ids: [String] = []
      for member in members {
        let status = try await member.call("/v3/maintenance/status")
        leaders.insert(status["leader"]?.string ?? "0")
        ids.append(status["header"]?["member_id"]?.string ?? "")
      }
      return leaders.count == 1 ? ids.firstIndex(of: leaders.first ?? "") : nil
    }
  }

  /// Waits until calls come to every member.
  private func expectCalls(at members: [EtcdProcess]) async throws {
    let before = try await calls(at: members)
    // Each check costs etcd all of its metrics.
    _ = try await eventually("calls at every member", every: .milliseconds(50)) {
      try await zip(before, calls(at: members)).allSatisfy { $0 + 10 <= $1 } ? true : nil
    }
  }

  private func calls(at members: [EtcdProcess]) async throws -> [Int] {
    var counts: [Int] = []
    for member in members { counts.append(try await member.callsStarted(of: "Put")) }
    return counts
  }

  /// Compares what is in etcd with what was written.
  private func expectEachOnce(_ writes: [String: Bool], _ member: EtcdProcess) async throws {
    let range = try await member.call("/v3/kv/range", ["key": .string("w/".base64), "range_end": .string("w0".base64)])
    var found: Set<String> = []
    for item in range["kvs"]?.array ?? [] {
      let key = item["key"]?.string ?? ""
      #expect(item["value"]?.string == key && item["version"] == "1", "\(item)")
      found.insert(String(decoding: Data(base64Encoded: key) ?? Data(), as: UTF8.self))
    }
    let lost = writes.filter { $0.value && !found.contains($0.key) }
    #expect(lost.isEmpty, "lost: \(lost.keys.sorted().prefix(5))")
    #expect(found.isSubset(of: writes.keys), "nobody wrote \(found.subtracting(writes.keys).sorted().prefix(5))")
    #expect(writes.values.filter { $0 }.count > 1000)
  }
}
