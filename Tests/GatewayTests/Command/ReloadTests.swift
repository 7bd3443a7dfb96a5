import Foundation
import TLS
import TestSupport
import Testing

/// Settings and files that are read again while the gateway serves (SIGHUP): all of them, or none.
@Suite(.timeLimit(.minutes(15)))
struct ReloadTests {
  private static let nothing = "the reload failed; the old settings stay in effect"

  private static func metrics(_ secure: SecureGateway) async throws -> [String] {
    try await HTTPClient(secure.plain).get("/metrics").body.lines(beginningWith: "etcd_rest_config_").map { String($0) }
  }

  /// If another file is invalid, a valid certificate is not used, not even by the next connection, until all are valid.
  @Test func aGoodCertificateWaitsForAGoodFileOfSettings() async throws {
    try await withTemporaryDirectory { folder in
      let path = "\(folder)/etcd-rest.yaml"
      func write(_ text: String) throws { try text.write(toFile: path, atomically: true, encoding: .utf8) }
      try write("endpoints: http://127.0.0.1:1\n")
      try await withSecureGateway([], ["--config", path]) { secure in
        func isServed(by authority: TestAuthority) async throws -> Bool {
          do {
            _ = try await secure.connect(try secure.client(trusting: authority.certificate))
            return true
          } catch let error as TLSError where error.kind == .verification {
            return false
          }
        }
        var metrics = try await Self.metrics(secure)
        #expect(metrics.contains("etcd_rest_config_last_reload_successful 1"), "\(metrics)")

        let other = try TestAuthority("other", in: secure.directory)
        try write("endpoints: http://127.0.0.1:1\nmax-streams: many\n")
        let files = try other.issue("renewed")
        try #require(rename(files.key, "\(secure.directory)/server.key") == 0)
        try #require(rename(files.certificate, "\(secure.directory)/server.pem") == 0)
        secure.gateway.process.signal(SIGHUP)
        try await secure.gateway.expectLogged("\(Self.nothing) reason=\"\(path):2: 'many' is not a valid value")
        #expect(try await isServed(by: secure.authority))
        metrics = try await Self.metrics(secure)
        #expect(metrics.contains("etcd_rest_config_last_reload_successful 0"), "\(metrics)")
        #expect(metrics.contains("etcd_rest_config_reloads_total{result=\"failure\"} 1"), "\(metrics)")

        try write("endpoints: http://127.0.0.1:2\nmax-streams: 7\n")
        secure.gateway.process.signal(SIGHUP)
        try await secure.gateway.expectLogged("these settings take effect after a restart")
        let line = try #require(secure.gateway.log.split(separator: "\n").last { $0.contains("after a restart") })
        for part in ["changed=endpoints", "endpoints=http://127.0.0.1:2", "settings=max-streams", ", good until "] {
          #expect(line.contains(part), "\(line)")
        }
        #expect(try await isServed(by: other))
        #expect(try await isServed(by: secure.authority) == false)
        metrics = try await Self.metrics(secure)
        #expect(metrics.contains("etcd_rest_config_last_reload_successful 1"), "\(metrics)")
        #expect(metrics.contains("etcd_rest_config_reloads_total{result=\"success\"} 1"), "\(metrics)")
      }
    }
  }

  /// A setting in the file has no effect if the command line has it, too: then it has not changed.
  @Test func whatTheCommandLineHasIsNoChange() async throws {
    try await withTemporaryDirectory { folder in
      let path = "\(folder)/etcd-rest.yaml"
      try "max-streams: 7\n".write(toFile: path, atomically: true, encoding: .utf8)
      try await withGateway(["http://127.0.0.1:1"], ["--config", path, "--max-streams", "9"]) { gateway in
        try "max-streams: 8\n".write(toFile: path, atomically: true, encoding: .utf8)
        gateway.process.signal(SIGHUP)
        try await gateway.expectLogged("reloaded: nothing has changed")
      }
    }
  }

  /// The user of requests without credentials gets another password, and then another name.
  @Test func theUserOfAnonymousRequestsIsRenewed() async throws {
    try await withEtcd(.v3_5) { etcd in
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      try await withTemporaryDirectory { folder in
        let path = "\(folder)/password"
        try "wrong\n".write(toFile: path, atomically: true, encoding: .utf8)
        try await withGateway([etcd.url], ["--user", "root", "--password-file", path]) { gateway in
          expectStatus(401, try await gateway.http.get("/keys/a"))
          try "\(AuthFixture.rootPassword)\n".write(toFile: path, atomically: true, encoding: .utf8)
          gateway.process.signal(SIGHUP)
          try await gateway.expectLogged("reloaded changed=password-file")
          _ = try await eventually("requests as the user") { () -> Bool? in
            try await gateway.http.get("/keys/a").status == 404 ? true : nil
          }
        }
      }
    }
  }
}
