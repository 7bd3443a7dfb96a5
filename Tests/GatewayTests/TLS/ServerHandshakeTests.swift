import Foundation
import TLS
import TestSupport
import Testing

/// Successful and failed handshakes with the gateway, each with its visible error, and without an effect on others.
@Suite(.timeLimit(.minutes(15)))
struct ServerHandshakeTests {
  private static let nowhere = ["http://127.0.0.1:1"]

  /// Other clients are served, over TLS and without.
  private func expectGoodService(_ secure: SecureGateway, _ certificate: TestAuthority.Files? = nil) async throws {
    let connection = try await secure.connect(try secure.client(certificate: certificate))
    #expect(try await connection.request("GET", "/livez").status == 200)
    await connection.close()
    #expect(try await HTTPClient(secure.plain).get("/livez").status == 200)
  }

  @Test func whatIsAgreedOn() async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let connection = try await secure.connect()
      let state = try #require(await connection.tlsState)
      #expect(state.version == "TLSv1.3")
      #expect(state.negotiatedProtocol == "http/1.1")
      #expect(try await connection.request("GET", "/livez").status == 200)
      // A client need not name any protocol, but one that names only others gets an error.
      let silent = try await secure.connect(try secure.client(protocols: []))
      #expect(try await silent.request("GET", "/livez").status == 200)
      #expect(await silent.tlsState?.negotiatedProtocol == nil)
      let other = try secure.client(protocols: ["h2"])
      let error = await #expect(throws: TLSError.self) { try await secure.connect(other) }
      #expect(error?.kind == .refused)
      try await expectGoodService(secure)
    }
  }

  /// Resuming an earlier session costs no signature; all shards know each other's sessions.
  @Test func sessionsAreGoneOnWith() async throws {
    try await withSecureGateway(Self.nowhere, ["--shards", "4"]) { secure in
      let context = try secure.client()
      for round in 0..<10 {
        let connection = try await secure.connect(context)
        #expect(await connection.tlsState?.isResumed == (round > 0))
        #expect(try await connection.request("GET", "/livez").status == 200)
        await connection.close()
      }
    }
  }

  @Test func aClientThatTrustsOthersGoesAway() async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let other = try TestAuthority("other", in: secure.directory)
      let error = await #expect(throws: TLSError.self) {
        try await secure.connect(try secure.client(trusting: other.certificate))
      }
      #expect(error?.kind == .verification)
      _ = try await eventually("a line about the client") {
        secure.gateway.log.contains("does not know the authority") ? true : nil
      }
      try await expectGoodService(secure)
    }
  }

  /// Clients decide what to make of it; the operator finds a line in the gateway's log.
  @Test func anExpiredCertificateIsServedWithAWarning() async throws {
    try await withSecureGateway(Self.nowhere, validity: .expired) { secure in
      try await secure.gateway.expectLogged("server.pem: the certificate has expired on ")
      let warnings = secure.gateway.log.split(separator: "\n").filter {
        $0.contains(" warning ") && $0.contains("certificate")
      }
      #expect(warnings.count == 1)
      #expect(warnings.first?.contains("server.pem: the certificate has expired on ") == true)
      let error = await #expect(throws: TLSError.self) { try await secure.connect() }
      #expect(error?.description.contains("it expired on") == true)
      let careless = try await secure.connect(try secure.client(trusting: nil))
      #expect(try await careless.request("GET", "/livez").status == 200)
    }
  }

  // MARK: - Certificates of clients

  /// Over TLS 1.3 the client's handshake ends before the gateway has checked its certificate.
  private func refusal(_ secure: SecureGateway, _ certificate: TestAuthority.Files?) async throws -> String {
    do {
      let connection = try await secure.connect(try secure.client(certificate: certificate))
      let response = try await connection.request("GET", "/livez")
      Issue.record("served: \(response)")
      return ""
    } catch let error as TLSError {
      return error.description
    } catch HTTPFailure.tls(let text) {
      return text
    }
  }

  @Test func clientsNeedACertificateOfTheRightAuthority() async throws {
    try await withSecureGateway(Self.nowhere, isMutual: true) { secure in
      let good = try secure.authority.issue("client", for: [], commonName: "ann", usage: .client)
      let expired = try secure.authority.issue("old", for: [], validity: .expired, usage: .client)
      let server = try secure.authority.issue("wrong", for: [], usage: .server)
      let other = try TestAuthority("other", in: secure.directory).issue("foreign", for: [], usage: .client)
      for (certificate, reason) in [
        (nil, "certificate"), (expired, "has expired"), (other, "does not know the authority"), (server, "certificate"),
      ] {
        let text = try await refusal(secure, certificate)
        #expect(text.contains(reason), "\(text)")
      }
      for text in ["the peer sent no certificate", "it expired on", "is no authority of"] {
        try await secure.gateway.expectLogged(text)
      }
      try await expectGoodService(secure, good)
    }
  }

  /// The name in a client's certificate does not select a user of etcd.
  @Test func theNameOfACertificateIsNobodysUser() async throws {
    try await withAuth(.v3_5) { fixture, _ in
      try await withSecureGateway([fixture.etcd.url], isMutual: true) { secure in
        let root = try secure.authority.issue("root", for: [], commonName: "root", usage: .client)
        let client = try await secure.connect(try secure.client(certificate: root))
        expectStatus(401, try await client.post("/v3/kv/range", ["key": "YQ=="]))
        expectStatus(401, try await client.post("/v3/auth/user/list", "{}"))
        expectStatus(200, try await client.post("/v3/auth/user/list", "{}", user: AuthFixture.root))
      }
    }
  }

  // MARK: - Invalid handshakes

  @Test func plainHTTPToTheTLSPortIsToldSo() async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let port = secure.url.dropFirst("https://".count)
      let plain = try await HTTPConnection.connect(to: "http://\(port)")
      let response = try await plain.post("/v3/kv/range", ["key": "YQ=="])
      #expect(response.status == 400)
      #expect(response.message == "this port speaks TLS: use https")
      try await plain.receiveClose()
      for garbage in [[UInt8](repeating: 0, count: 1000), Array("SSH-2.0-x\r\n".utf8), [0x16, 3, 1, 0xff, 0xff]] {
        let client = try await HTTPConnection.connect(to: "http://\(port)")
        try await client.send(garbage)
        await client.finishSending()
        // It ends; bytes before that are of no use to such a client.
        _ = try? await client.receiveToEnd()
      }
      try await expectGoodService(secure)
    }
  }

  @Test func tlsToThePlainPortEnds() async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      let port = secure.plain.dropFirst("http://".count)
      let error = await #expect(throws: TLSError.self) {
        try await HTTPConnection.connect(to: "https://\(port)", tls: try secure.client())
      }
      #expect(error?.kind == .notTLS)
      try await expectGoodService(secure)
    }
  }

  @Test func oldVersionsAreRefused() async throws {
    try await withSecureGateway(Self.nowhere) { secure in
      // A client that would accept TLS 1.0 and 1.1, at the security level at which OpenSSL still does.
      let curl = try await CommandRun.run(
        "/usr/bin/curl",
        ["-sk", "--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", secure.url + "/livez"])
      #expect(curl.exit == .code(35), "\(curl)")
      _ = try await eventually("a line about the client") {
        secure.gateway.log.contains("the peer speaks no TLS 1.2 or later") ? true : nil
      }
      try await expectGoodService(secure)
    }
  }

  // MARK: - Time

  /// A client that never completes its greeting is cut though it always sends a little more, while others are served,
  /// and while a connection with a completed handshake waits for longer.
  @Test func theHandshakeHasAnEndHoweverItsBytesTrickle() async throws {
    try await withSecureGateway(Self.nowhere, ["--handshake-timeout", "3s"]) { secure in
      let patient = try await secure.connect()
      let port = secure.url.dropFirst("https://".count)
      let loris = try await HTTPConnection.connect(to: "http://\(port)")
      // The head of a record of 16 KiB, of which one byte comes at a time: it would take more than five minutes.
      try await loris.send([0x16, 3, 1, 0x40, 0])
      let end = Task { try await loris.receiveClose() }
      let trickle = Task {
        for _ in 0..<0x4000 {
          do { try await loris.send([1]) } catch { return true }
          try await Task.sleep(for: .milliseconds(20))
        }
        return false
      }
      try await end.value
      #expect(try await trickle.value, "the greeting was sent to its end")
      #expect(try await patient.request("GET", "/livez").status == 200)
      try await expectGoodService(secure)
    }
  }

  /// Connections in a handshake count: no client gets more connections by never completing it.
  @Test func unfinishedHandshakesCountAsConnections() async throws {
    let limits = ["--shards", "1", "--max-connections", "3", "--handshake-timeout", "60s"]
    try await withSecureGateway(Self.nowhere, limits) { secure in
      let port = secure.url.dropFirst("https://".count)
      var silent: [HTTPConnection] = []
      for _ in 0..<3 { silent.append(try await HTTPConnection.connect(to: "http://\(port)")) }
      let waiting = try await HTTPConnection.connect(to: secure.plain)
      try await waiting.sendRequest("GET", "/livez")
      // By the time one of them is answered, the gateway would have seen the other connection, if it accepted any.
      let talker = silent.removeLast()
      #expect(try await talker.request("GET", "/").status == 400)
      await #expect(throws: HTTPFailure.timedOut) {
        _ = try await waiting.receiveHead(timeout: .milliseconds(1))
      }
      await talker.close()
      #expect(try await waiting.receive().status == 200)
    }
  }
}
