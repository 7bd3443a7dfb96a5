import Foundation
import TestSupport
import Testing

/// TLS to etcd, as users of the gateway see it.
@Suite(.timeLimit(.minutes(15)))
struct UpstreamTLSTests {
  /// Runs `body` with an etcd that requires certificates, and what is needed to reach it.
  static func withSecureEtcd(
    _ version: EtcdVersion, mutual: Bool = true, server hosts: [String] = ["localhost", "127.0.0.1", "::1"],
    validity: TestAuthority.Validity = .current, _ body: (EtcdProcess, Secrets) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      let secrets = try Secrets(in: directory, hosts: hosts, validity: validity)
      let authorities = mutual ? secrets.authority.certificate : nil
      try await withEtcd(version, tls: EtcdTLS(secrets.server, clientAuthorities: authorities)) { etcd in
        try await body(etcd, secrets)
      }
    }
  }

  /// An authority, and the certificates that it has issued.
  struct Secrets {
    let directory: String
    let authority: TestAuthority
    let server: TestAuthority.Files
    let client: TestAuthority.Files

    init(in directory: String, hosts: [String], validity: TestAuthority.Validity) throws {
      self.directory = directory
      authority = try TestAuthority("authority", in: directory)
      server = try authority.issue("server", for: hosts, validity: validity)
      client = try authority.issue("client", for: [])
    }

    var trust: [String] { ["--cacert", authority.certificate] }
    var identity: [String] { ["--cert", client.certificate, "--key", client.key] }
    var flags: [String] { trust + identity }
  }

  /// Expects that no connection is made, for `reason`, and that the gateway's client and its log get that reason.
  static func expectNoConnection(
    to endpoint: String, _ arguments: [String], because reason: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    try await withGateway([endpoint], ["--shards", "1", "--dial-timeout", "4s"] + arguments) { gateway in
      let answer = try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"])
      let place = endpoint.replacing(/^[a-z]+:\/\//, with: "")
      expectError(
        answer, 503, code: 14, message: "no connection to etcd: \(place): \(reason)", sourceLocation: sourceLocation)
      try await gateway.expectLogged("reason=\"\(reason)\"")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func everyFormOfAnEndpointWorks(version: EtcdVersion) async throws {
    try await Self.withSecureEtcd(version) { etcd, secrets in
      let port = etcd.tls?.port ?? 0
      let endpoints = [
        etcd.secureURL(), etcd.secureURL("localhost"), etcd.secureURL("[::1]"), "localhost:\(port)",
        "127.0.0.1:\(port)", etcd.url,
      ]
      for endpoint in endpoints {
        try await withGateway([endpoint], ["--shards", "1"] + secrets.flags) { gateway in
          expectStatus(200, try await gateway.http.post("/v3/kv/put", ["key": "Zm9v", "value": "YmFy"]))
          let range = try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"])
          #expect(try range.json["count"]?.string == "1", "\(endpoint)")
        }
      }
      // With TLS only if that is configured, as in clientv3.
      for endpoint in ["unix://\(etcd.socketPath)", String(etcd.url.dropFirst("http://".count))] {
        try await withGateway([endpoint], ["--shards", "1"]) { gateway in
          expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]))
        }
      }
    }
  }

  @Test func theEnvironmentHasTheFlagsToo() async throws {
    try await Self.withSecureEtcd(.v3_5, server: ["etcd.example.com"]) { etcd, secrets in
      let environment = [
        "ETCD_REST_CACERT": secrets.authority.certificate, "ETCD_REST_CERT": secrets.client.certificate,
        "ETCD_REST_KEY": secrets.client.key, "ETCD_REST_SERVER_NAME": "etcd.example.com",
        "ETCD_REST_TLS_MIN_VERSION": "1.3",
      ]
      try await withGateway([etcd.secureURL()], environment: environment) { gateway in
        expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]))
      }
      let unchecked = ["ETCD_REST_INSECURE_SKIP_TLS_VERIFY": "true"]
      try await withGateway([etcd.secureURL()], secrets.identity, environment: unchecked) { gateway in
        expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]))
      }
    }
  }

  /// Messages of many records, and more than a socket takes at once, both ways and at the same time.
  @Test(arguments: EtcdVersion.allCases)
  func largeMessagesComeThrough(version: EtcdVersion) async throws {
    try await Self.withSecureEtcd(version) { etcd, secrets in
      try await withGateway([etcd.secureURL()], ["--shards", "1"] + secrets.flags) { gateway in
        var generator = SeededGenerator(seed: 7)
        let values = (0..<8).map { _ in Data(generator.bytes(1_000_000)).base64EncodedString() }
        try await withThrowingTaskGroup { group in
          for (index, value) in values.enumerated() {
            let key = Data("large\(index)".utf8).base64EncodedString()
            group.addTask {
              let body: JSON = ["key": .string(key), "value": .string(value)]
              expectStatus(200, try await gateway.http.post("/v3/kv/put", body))
            }
          }
          try await group.waitForAll()
        }
        let prefix: JSON = ["key": "bGFyZ2U=", "range_end": "bGFyZ2Y="]
        let answer = try await gateway.http.post("/v3/kv/range", prefix).json
        #expect(answer["kvs"]?.array?.map { $0["value"]?.string } == values)
      }
    }
  }

  /// The connection for streams resumes the session of the one for unary calls.
  @Test(arguments: EtcdVersion.allCases)
  func sessionsAreGoneOnWith(version: EtcdVersion) async throws {
    try await Self.withSecureEtcd(version) { etcd, secrets in
      // 3.5.1 was built with a Go that does not speak 1.3.
      let security = version == .v3_5_1 ? "TLSv1.2" : "TLSv1.3"
      let arguments = ["--shards", "1", "--log-level", "debug"] + secrets.flags
      try await withGateway([etcd.secureURL()], arguments) { gateway in
        expectStatus(200, try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]))
        try await gateway.expectLogged("security=\(security)\n")
        expectStatus(200, try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"]))
        try await gateway.expectLogged("security=\"\(security), resumed\"\n")
      }
    }
  }

  // MARK: - Refusals

  @Test(arguments: EtcdVersion.allCases)
  func whatDoesNotMatchIsSaid(version: EtcdVersion) async throws {
    try await Self.withSecureEtcd(version) { etcd, secrets in
      let other = try TestAuthority("other", in: secrets.directory)
      let stranger = try other.issue("stranger", for: [])
      let expired = try secrets.authority.issue("expired", for: [], validity: .expired)
      func expect(
        _ arguments: [String], _ reason: String, to endpoint: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
      ) async throws {
        try await Self.expectNoConnection(
          to: endpoint ?? etcd.secureURL(), arguments, because: reason, sourceLocation: sourceLocation)
      }
      let subject = "(O=tests of etcd-rest)"
      try await expect(
        ["--cacert", other.certificate] + secrets.identity,
        "certificate verify failed: it was issued by CN=authority, which is no authority of \(other.certificate) \(subject)"
      )
      try await expect(
        secrets.identity,
        "certificate verify failed: it was issued by CN=authority, which is no authority of the system \(subject)")
      let names = "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"
      try await expect(
        secrets.flags + ["--server-name", "elsewhere"],
        "certificate verify failed: it is for \(names), not for elsewhere \(subject)")
      try await expect(
        secrets.flags + ["--server-name", "127.0.0.2"],
        "certificate verify failed: it is for \(names), not for 127.0.0.2 \(subject)")
      try await expect(
        secrets.trust, "the peer rejected the TLS handshake: it requires a client certificate, and none is configured")
      // Go, with which etcd is built, said only that both are bad; later versions say why.
      let isTerse = version == .v3_4 || version == .v3_5_1
      for (files, reason) in [
        (stranger, "it does not know the authority that signed the certificate in \(stranger.certificate)"),
        (expired, "the certificate in \(expired.certificate) has expired"),
      ] {
        let said = isTerse ? "it rejected the certificate in \(files.certificate)" : reason
        try await expect(
          secrets.trust + ["--cert", files.certificate, "--key", files.key],
          "the peer rejected the TLS handshake: \(said)")
      }
      try await expect(
        secrets.flags, "the peer closed the connection without an HTTP/2 preface; if it speaks TLS, use https://",
        to: etcd.secureURL().replacing("https://", with: "http://"))
      try await expect(
        secrets.flags, "the peer closed the connection instead of answering in TLS; does it speak TLS?",
        to: etcd.url.replacing("http://", with: "https://"))
    }
  }

  @Test func anExpiredCertificateIsSaidToBe() async throws {
    try await Self.withSecureEtcd(.v3_5, validity: .expired) { etcd, secrets in
      try await withGateway([etcd.secureURL()], ["--shards", "1"] + secrets.flags) { gateway in
        let message = try await gateway.http.post("/v3/kv/range", ["key": "Zm9v"]).message ?? ""
        let begin = "no connection to etcd: \(etcd.secureURL().dropFirst(8)): certificate verify failed: it expired on "
        #expect(message.hasPrefix(begin), "\(message)")
        #expect(message.hasSuffix(" GMT (O=tests of etcd-rest)"), "\(message)")
      }
    }
  }

  /// Peers that are not etcd.
  @Test(arguments: [
    ("http", "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}", "the peer speaks TLS: use https://"),
    ("http", "HTTP/1.1 400 Bad Request\r\n\r\n", "the peer speaks HTTP/1, not gRPC"),
    ("https", "HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS"),
    (
      "https", "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}",
      "the peer rejected the TLS handshake: it supports none of the TLS versions offered"
    ),
    (
      "https", "\u{15}\u{3}\u{3}\0\u{2}\u{2}\u{50}", "the peer rejected the TLS handshake: TLS alert 80, internal error"
    ),
  ])
  func whoSpeaksSomethingElseIsTold(scheme: String, answer: String, reason: String) async throws {
    var settings = ScriptedPeer.Settings()
    settings.welcome = { _ in .bytes(Array(answer.utf8)) }
    let peer = try ScriptedPeer(settings: settings) { _ in .hang }
    try await Self.expectNoConnection(to: "\(scheme)://127.0.0.1:\(peer.port)", [], because: reason)
  }

  /// OpenSSL's own server, as one that is old, or not made for gRPC.
  @Test(arguments: [
    (
      ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
      "the peer rejected the TLS handshake: it supports none of the TLS versions offered"
    ),
    (["-tls1_2"], "the peer speaks TLS, but chose no protocol instead of HTTP/2 (ALPN h2)"),
    (["-tls1_3"], "the peer speaks TLS, but chose no protocol instead of HTTP/2 (ALPN h2)"),
    (["-alpn", "http/1.1"], "the peer rejected the TLS handshake: it does not support the protocol offered (ALPN)"),
  ])
  func aServerThatIsNoEtcdIsToldByItsTLS(arguments: [String], reason: String) async throws {
    try await withTemporaryDirectory { directory in
      let secrets = try Secrets(in: directory, hosts: ["127.0.0.1"], validity: .current)
      try await withOpenSSLServer(secrets.server, arguments, in: directory) { port in
        try await Self.expectNoConnection(to: "https://127.0.0.1:\(port)", secrets.trust, because: reason)
      }
    }
  }

  @Test func anEtcdOfOldVersionsIsRefused() async throws {
    try await withTemporaryDirectory { directory in
      let secrets = try Secrets(in: directory, hosts: ["127.0.0.1"], validity: .current)
      try await withOpenSSLServer(secrets.server, ["-tls1_2", "-alpn", "h2"], in: directory) { port in
        try await Self.expectNoConnection(
          to: "https://127.0.0.1:\(port)", secrets.trust + ["--tls-min-version", "1.3"],
          because: "the peer rejected the TLS handshake: it supports none of the TLS versions offered")
      }
    }
  }

  /// Runs `body` with `openssl s_server` on a port of its choice.
  private func withOpenSSLServer(
    _ files: TestAuthority.Files, _ arguments: [String], in directory: String, _ body: (Int) async throws -> Void
  ) async throws {
    let process = try await ChildProcess.start(
      "/usr/bin/openssl",
      ["s_server", "-accept", "127.0.0.1:0", "-cert", files.certificate, "-key", files.key, "-rev"] + arguments,
      output: "\(directory)/openssl", error: "\(directory)/openssl.err")
    do {
      let port = try await eventually("port of openssl s_server") { () -> Int? in
        if let exit = process.exited { throw TestSupportError("openssl ended (\(exit)): \(process.errorOutput)") }
        return process.output.firstMatch(of: /ACCEPT \S*:(\d+)\n/).flatMap { Int($0.1) }
      }
      try await body(port)
    } catch {
      await process.killAndWait()
      throw error
    }
    await process.killAndWait()
  }
}
