import TestSupport
import Testing

/// The releases of etcd that the other suites run against, or the reasons why they do not.
@Suite struct EtcdVersionTests {
  @Test(.enabled(if: missing("3.4.23") == nil, missing("3.4.23")))
  func theOldestServedIsThere() async throws { try await expectRuns(.v3_4) }

  @Test(.enabled(if: missing("3.5.1") == nil, missing("3.5.1")))
  func theOneOfUpstreamIsThere() async throws { try await expectRuns(.v3_5_1) }

  /// Without it, the tests of 3.5 run against an older release.
  @Test(.enabled(if: missing("3.5") == nil, missing("3.5")))
  func theNewestOfDebianIsThere() async throws { try await expectRuns(.v3_5) }

  @Test func releasesCompareByTheirNumbers() {
    #expect(EtcdVersion("3.4.23") < "3.5.1" && EtcdVersion("3.5.1") < "3.5.30" && EtcdVersion("3.5.9") < "3.5.28")
  }

  private func expectRuns(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      let answer = try await etcd.http.get("/version")
      #expect(try answer.json["etcdserver"]?.string == version.rawValue)
    }
  }
}

private func missing(_ name: String) -> Comment? {
  EtcdVersion.reasonMissing(name).map { "etcd \(name): \($0)" }
}
