import Foundation
import TestSupport
import Testing

/// TLS files for etcd that are renewed while the gateway runs, and some that are invalid from the start.
@Suite(.timeLimit(.minutes(15)))
struct UpstreamRenewalTests {
  private static let renewed = "new connections to etcd use the renewed TLS files"

  /// etcd's certificate comes from another authority, which the gateway learns from its file, and the gateway's own
  /// certificate is renewed.
  @Test(arguments: EtcdVersion.allCases)
  func renewedFilesAreUsedWithoutARestart(version: EtcdVersion) async throws {
    try await UpstreamTLSTests.withSecureEtcd(version, mutual: false) { etcd, secrets in
      let trusted = "\(secrets.directory)/trusted.pem"
      func trust(_ authority: TestAuthority) throws {
        try String(contentsOfFile: authority.certificate, encoding: .utf8)
          .write(toFile: trusted, atomically: true, encoding: .utf8)
      }
      try trust(secrets.authority)
      let arguments = ["--shards", "1", "--cacert", trusted, "--dial-timeout", "4s"] + secrets.identity
      try await withGateway([etcd.secureURL()], arguments) { gateway in
        func range() async throws -> HTTPResponse { try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]) }
        expectStatus(200, try await range())

        // Existing connections go on; those after etcd's restart are refused.
        let other = try TestAuthority("other", in: secrets.directory)
        try other.issue("server")
        expectStatus(200, try await range())
        try await etcd.restart()
        let refusal =
          "no connection to etcd: \(etcd.secureURL().dropFirst(8)): certificate verify failed: "
          + "it was issued by CN=other, which is no authority of \(trusted) (O=tests of etcd-rest)"
        _ = try await eventually(refusal) { try await range().message == refusal ? true : nil }

        try trust(other)
        _ = try await eventually("an answer after the authorities' file was renewed") {
          try await range().status == 200 ? true : nil
        }
        try await gateway.expectLogged(Self.renewed)

        // Invalid files are reported, and the valid ones stay in use.
        try "junk".write(toFile: trusted, atomically: true, encoding: .utf8)
        try await etcd.restart()
        _ = try await eventually("an answer in spite of the broken file") {
          try await range().status == 200 ? true : nil
        }
        let fault = "reason=\"\(trusted): no certificate can be read from it: "
        try await gateway.expectLogged(fault)
        #expect(gateway.log.components(separatedBy: fault).count == 2, "\(gateway.log)")
      }
    }
  }

  /// A client certificate that is about to expire is replaced.
  @Test func aRenewedClientCertificateIsShown() async throws {
    try await UpstreamTLSTests.withSecureEtcd(.v3_5) { etcd, secrets in
      let client = try secrets.authority.issue("own", for: [], validity: .expired)
      let arguments = ["--shards", "1", "--dial-timeout", "4s", "--cert", client.certificate, "--key", client.key]
      try await withGateway([etcd.secureURL()], secrets.trust + arguments) { gateway in
        func range() async throws -> HTTPResponse { try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]) }
        let reason =
          etcd.version == .v3_5_1
          ? "it rejected the certificate in \(client.certificate)"
          : "the certificate in \(client.certificate) has expired"
        expectError(
          try await range(), 503,
          message:
            "no connection to etcd: \(etcd.secureURL().dropFirst(8)): the peer rejected the TLS handshake: \(reason)")
        try secrets.authority.issue("own", for: [])
        _ = try await eventually("an answer to the renewed certificate") {
          try await range().status == 200 ? true : nil
        }
        try await gateway.expectLogged(Self.renewed)

        // A renewed one with a common name is refused, as at the start.
        try secrets.authority.issue("own", for: [], commonName: "root")
        gateway.process.signal(SIGHUP)
        _ = try await eventually("a word on the common name") {
          gateway.log.contains("has a common name, 'root'") ? true : nil
        }
        expectStatus(200, try await range())
      }
    }
  }

  // MARK: - At the start

  @Test func aCommonNameIsRefusedUnlessAllowed() async throws {
    try await UpstreamTLSTests.withSecureEtcd(.v3_5) { etcd, secrets in
      let named = try secrets.authority.issue("named", for: [], commonName: "root")
      let flags = secrets.trust + ["--cert", named.certificate, "--key", named.key]
      let run = try await CommandRun.etcdRest(
        ["serve", "--listen", "127.0.0.1:0", "--endpoints", etcd.secureURL()] + flags)
      run.expectRefusal(
        naming: "TLS to etcd: \(named.certificate): the certificate has a common name, 'root', which etcd may take for "
          + "the user of calls without a token; use one without, or --allow-client-cn")
      try await withGateway([etcd.secureURL()], flags + ["--allow-client-cn"]) { gateway in
        expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]))
      }
    }
  }

  @Test func filesThatAreNoGoodAreRefused() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let (one, other) = (try authority.issue("one"), try authority.issue("other"))
      let cases: [([String], String)] = [
        (["--cacert", "/no/such.pem"], "TLS to etcd: /no/such.pem: No such file or directory"),
        (["--cacert", one.key], "TLS to etcd: \(one.key): no certificate can be read from it"),
        (
          ["--cert", one.certificate, "--key", other.key],
          "TLS to etcd: \(other.key): the private key is not that of the certificate"
        ),
        (["--cert", one.certificate], "TLS to etcd: \(one.certificate): no private key can be read from it"),
        (["--key", one.key], "--key needs --cert"),
        (["--cacert", ""], "--cacert must not be empty"),
        (["--tls-min-version", "1.1"], "1.1"),
      ]
      for (arguments, text) in cases {
        let run = try await CommandRun.etcdRest(["serve", "--listen", "127.0.0.1:0"] + arguments)
        run.expectRefusal(naming: text)
      }
      let run = try await CommandRun.etcdRest(
        "serve", "--listen", "127.0.0.1:0", environment: ["ETCD_REST_ALLOW_CLIENT_CN": "perhaps"])
      run.expectRefusal(naming: "ETCD_REST_ALLOW_CLIENT_CN")
    }
  }
}
