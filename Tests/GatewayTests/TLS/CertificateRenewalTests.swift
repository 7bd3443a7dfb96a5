import Foundation
import Glibc
import TLS
import TestSupport
import Testing

/// Renewed certificates take effect without a restart, and no client loses a connection.
@Suite(.timeLimit(.minutes(15)))
struct CertificateRenewalTests {
  private static let nowhere = ["http://127.0.0.1:1"]

  /// Whether a new client that trusts only `authority` can connect.
  private func isServed(_ secure: SecureGateway, trusting authority: TestAuthority) async throws -> Bool {
    do {
      let connection = try await secure.connect(try secure.client(trusting: authority.certificate))
      #expect(try await connection.request("GET", "/livez").status == 200)
      await connection.close()
      return true
    } catch let error as TLSError {
      #expect(error.kind == .verification)
      return false
    }
  }

  /// Replaces the files that the gateway was started with by those of `authority`.
  private func renew(_ secure: SecureGateway, by authority: TestAuthority) throws {
    let files = try authority.issue("renewed")
    for (new, old) in [(files.key, "server.key"), (files.certificate, "server.pem")] {
      try #require(rename(new, "\(secure.directory)/\(old)") == 0)
    }
  }

  @Test(arguments: [true, false])
  func newHandshakesUseNewFilesAndConnectionsGoOn(_ isSignalled: Bool) async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let open = try await secure.connect()
      #expect(try await open.request("GET", "/livez").status == 200)
      let other = try TestAuthority("other", in: secure.directory)
      #expect(try await isServed(secure, trusting: other) == false)
      try renew(secure, by: other)
      if isSignalled {
        secure.gateway.process.signal(SIGHUP)
        _ = try await eventually("a line about the new files") {
          secure.gateway.log.contains("reloaded certificate=") ? true : nil
        }
      }
      #expect(try await isServed(secure, trusting: other))
      #expect(try await isServed(secure, trusting: secure.authority) == false)
      #expect(try await open.request("GET", "/livez").status == 200)
    }
  }

  @Test(arguments: [true, false])
  func brokenFilesAreRefusedAndTheOldOnesStay(_ isSignalled: Bool) async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let other = try TestAuthority("other", in: secure.directory)
      try "not a certificate".write(toFile: "\(secure.directory)/server.pem", atomically: true, encoding: .utf8)
      let word = isSignalled ? "the reload failed" : "the old certificate stays in use: "
      if isSignalled { secure.gateway.process.signal(SIGHUP) } else { _ = try await secure.connect() }
      _ = try await eventually("a line about the new files") {
        let lines = secure.gateway.log.split(separator: "\n").filter { $0.contains(word) }
        return lines.contains { $0.contains("server.pem: no certificate can be read from it") } ? true : nil
      }
      #expect(try await isServed(secure, trusting: secure.authority))
      // Each fault is reported once, not for each connection.
      let faults = secure.gateway.log.components(separatedBy: word).count - 1
      #expect(faults == 1)
      try renew(secure, by: other)
      #expect(try await isServed(secure, trusting: other))
    }
  }

  /// The authorities of clients are files, too.
  @Test func authoritiesOfClientsAreRenewed() async throws {
    try await withSecureGateway(Self.nowhere, isMutual: true) { secure in
      let other = try TestAuthority("other", in: secure.directory)
      let mine = try secure.authority.issue("mine", for: [], usage: .client)
      let theirs = try other.issue("theirs", for: [], usage: .client)
      let context = try secure.client(certificate: mine)
      let open = try await secure.connect(context)
      #expect(try await open.request("GET", "/livez").status == 200)
      try #require(rename(other.certificate, secure.authority.certificate) == 0)
      // An earlier session does not let a client in whose authority is no longer trusted.
      let refusal = await #expect(throws: (any Error).self) {
        try await secure.connect(context).request("GET", "/livez")
      }
      #expect(refusal as? HTTPFailure != .timedOut)
      var settings = TLSSettings(.client, verification: .none)
      settings.certificate = theirs.certificate
      settings.key = theirs.key
      #expect(try await secure.connect(try TLSContext(settings)).request("GET", "/livez").status == 200)
      #expect(try await open.request("GET", "/livez").status == 200)
    }
  }

  /// Every other fault of a certificate is one clear line, and the gateway does not start.
  @Test func unusableFilesAreOneClearLine() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let good = try authority.issue("good")
      let other = try authority.issue("other")
      let https = ["--listen", "https://127.0.0.1:0"]
      for (flags, hint) in [
        (https, "--tls-cert"), (https + ["--tls-cert", good.certificate], "--tls-key"),
        (["--tls-cert", good.certificate, "--tls-key", good.key], "https://"),
        (https + ["--tls-cert", "/no/file", "--tls-key", good.key], "/no/file"),
        (https + ["--tls-cert", good.certificate, "--tls-key", other.key], "other.key"),
        (https + ["--tls-cert", good.certificate, "--tls-key", good.key, "--tls-client-ca", good.key], "good.key"),
        (["--handshake-timeout", "0"], "--handshake-timeout"),
      ] {
        try await CommandRun.etcdRest(["serve", "--listen", "127.0.0.1:0"] + flags).expectRefusal(naming: hint)
      }
    }
  }
}
