import Foundation
import TestSupport
import Testing

@testable import TLS

/// What is refused in a handshake, and the errors.
@Suite struct VerificationTests {
  /// A server's certificate that is refused.
  struct Case: Sendable, CustomTestStringConvertible {
    var hosts = ["localhost", "*.example.com", "127.0.0.1"]
    var commonName: String?
    var validity = TestAuthority.Validity.current
    var usage = TestAuthority.Usage.both
    var isOfOtherAuthority = false
    var name = "localhost"
    /// The beginning and the end of the error.
    let begin: String
    let end: String

    var testDescription: String { "\(begin) … \(end)" }
  }

  @Test(arguments: [
    Case(
      isOfOtherAuthority: true, begin: "it was issued by CN=other, which is no authority of",
      end: "(O=tests of etcd-rest)"),
    Case(validity: .expired, begin: "it expired on ", end: "GMT (O=tests of etcd-rest)"),
    Case(validity: .future, begin: "it is not valid before ", end: "GMT (O=tests of etcd-rest)"),
    Case(
      name: "elsewhere", begin: "it is for DNS:localhost, DNS:*.example.com, IP Address:127.0.0.1, not for elsewhere",
      end: " (O=tests of etcd-rest)"),
    Case(
      name: "127.0.0.2", begin: "it is for DNS:localhost, DNS:*.example.com, IP Address:127.0.0.1, not for 127.0.0.2",
      end: ")"),
    Case(name: "a.b.example.com", begin: "it is for", end: ")"),
    Case(hosts: [], commonName: "localhost", begin: "it is for no name or address, not for localhost", end: ")"),
    Case(usage: .client, begin: "unsuitable certificate purpose", end: ")"),
  ])
  func aServersCertificateIsChecked(_ test: Case) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let other = try TestAuthority("other", in: directory)
      let files = try (test.isOfOtherAuthority ? other : authority).issue(
        "server", for: test.hosts, commonName: test.commonName, validity: test.validity, usage: test.usage)
      let pair = try Pair(
        client: .client(authorities: authority.certificate), server: .server(files), name: test.name)
      let error = try #require(pair.shakeHands().client)
      #expect(error.kind == .verification)
      #expect(error.description.hasPrefix("certificate verify failed: " + test.begin), "\(error)")
      #expect(error.description.hasSuffix(test.end), "\(error)")
      // Without the check there is no error.
      let trusting = try Pair(
        client: .client(authorities: nil) { $0.verification = .none }, server: .server(files), name: test.name)
      let errors = trusting.shakeHands()
      #expect(errors.client == nil)
      #expect(errors.server == nil)
    }
  }

  @Test(arguments: ["localhost", "127.0.0.1", "::1", "a.example.com", "LOCALHOST"])
  func namesAndAddressesMatch(name: String) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let files = try authority.issue("server", for: ["localhost", "127.0.0.1", "::1", "*.example.com"])
      let pair = try Pair(
        client: .client(authorities: authority.certificate), server: .server(files), name: name)
      #expect(pair.shakeHands().client == nil)
    }
  }

  /// A server's errors about clients, and what the clients get.
  @Test(arguments: [
    (TestAuthority.Validity.expired, false, "it expired on", "the certificate in FILE has expired"),
    (
      .current, true, "it was issued by CN=other, which is no authority of",
      "it does not know the authority that signed the certificate in FILE"
    ),
  ])
  func aClientsCertificateIsChecked(
    validity: TestAuthority.Validity, isOfOther: Bool, server: String, client: String
  ) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let other = try TestAuthority("other", in: directory)
      let own = try (isOfOther ? other : authority).issue("client", validity: validity)
      let pair = try Pair(
        client: .client(authorities: authority.certificate) {
          $0.certificate = own.certificate
          $0.key = own.key
        },
        server: .server(authority.issue("server")) {
          $0.verification = .ifGiven
          $0.authorities = authority.certificate
        })
      let error = try #require(pair.shakeHands().server)
      #expect(error.kind == .verification)
      #expect(error.description.hasPrefix("certificate verify failed: \(server)"), "\(error)")
      guard case .failed(let told) = pair.client.readAll().end else { throw Unexpected() }
      let words = client.replacing("FILE", with: own.certificate)
      #expect(told == TLSError(.refused, "the peer rejected the TLS handshake: \(words)"))
    }
  }

  @Test func aClientWithoutACertificateMayBeWelcome() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let pair = try Pair(
        client: .client(authorities: authority.certificate),
        server: .server(authority.issue("server")) {
          $0.verification = .ifGiven
          $0.authorities = authority.certificate
        })
      let errors = pair.shakeHands()
      #expect(errors.client == nil)
      #expect(errors.server == nil)
    }
  }

  @Test func protocolsMustMeet() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let pair = try Pair(
        client: .client(authorities: authority.certificate) { $0.protocols = ["h2"] },
        server: .server(authority.issue("server")) { $0.protocols = ["http/1.1"] })
      let errors = pair.shakeHands()
      #expect(errors.server == TLSError(.violation, "no protocol in common with the peer (http/1.1)"))
      #expect(
        errors.client
          == TLSError(.refused, "the peer rejected the TLS handshake: it does not support the protocol offered (ALPN)"))
    }
  }

  @Test(arguments: [
    ("HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS"),
    ("SSH-2.0-OpenSSH_9.2p1\r\n", "the peer does not speak TLS"),
    ("\0\0\0\u{4}\0\0\0\0\0", "the peer does not speak TLS"),
    ("", "the peer closed the connection instead of answering in TLS; does it speak TLS?"),
  ])
  func whoSpeaksSomethingElseIsTold(answer: String, text: String) async throws {
    let descriptors = try socketPair()
    let client = TLSSession(
      client: try .client(authorities: nil), descriptor: descriptors[0], serverName: "localhost", peer: "")
    guard case .wantsReadable = client.handshake() else { throw Unexpected() }
    // The greeting is read, so that only the answer reaches the client.
    var greeting = [UInt8](repeating: 0, count: 4096)
    #expect(recv(descriptors[1], &greeting, greeting.count, 0) > 0)
    _ = send(descriptors[1], answer, answer.utf8.count, 0)
    hangUp(descriptors[1])
    guard case .failed(let error) = client.handshake() else { throw Unexpected() }
    #expect(error == TLSError(.notTLS, text))
    close(descriptors[0])
  }

  @Test(arguments: ["GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
  func aClientInPlaintextIsNoticed(request: String) async throws {
    try await withTemporaryDirectory { directory in
      let descriptors = try socketPair()
      let authority = try TestAuthority(in: directory)
      let server = TLSSession(server: try .server(authority.issue("server")), descriptor: descriptors[1])
      _ = send(descriptors[0], request, request.utf8.count, 0)
      guard case .failed(let error) = server.handshake() else { throw Unexpected() }
      #expect(error == TLSError(.notTLS, "the peer does not speak TLS"))
      for descriptor in descriptors { close(descriptor) }
    }
  }
}
