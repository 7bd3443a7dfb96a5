import Testing

@testable import TestSupport

@Suite struct EtcdProcessTests {
  /// Another etcd at its port is not taken for the one that could not bind.
  @Test(arguments: EtcdVersion.allCases)
  func aPortThatIsTakenIsNoticed(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { first in
      try await withTemporaryDirectory { directory in
        var ports = try LoopbackPort.pick(3)
        ports[0] = try #require(first.url.split(separator: ":").last.flatMap { UInt16($0) })
        let second = EtcdProcess(
          version, name: "second", directory: directory, ports: ports,
          arguments: ["--initial-cluster", "second=http://127.0.0.1:\(ports[1])"])
        await #expect(throws: TestSupportError.self) { try await second.start() }
        #expect(second.isPortTaken, "\(second.log)")
        await second.kill()
      }
    }
  }

  @Test func portsAreAllDifferent() throws {
    let ports = try LoopbackPort.pick(20) + LoopbackPort.pick(20)
    #expect(Set(ports).count == 40)
  }
}
