import Foundation
import TestSupport
import Testing

@testable import TLS

/// Handshakes, bytes and ends between a client and a server of this project.
@Suite struct TLSSessionTests {
  @Test(arguments: TLSVersion.allCases)
  func bytesGoBothWays(version: TLSVersion) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let files = try authority.issue("server")
      let pair = try Pair(
        client: .client(authorities: authority.certificate) {
          $0.protocols = ["h2", "http/1.1"]
          $0.minimumVersion = version
        },
        server: .server(files) { $0.protocols = ["http/1.1"] })
      let errors = pair.shakeHands()
      #expect(errors.client == nil)
      #expect(errors.server == nil)
      #expect(pair.client.negotiatedProtocol == "http/1.1")
      #expect(pair.server.negotiatedProtocol == "http/1.1")
      #expect(pair.client.version == "TLSv1.3")
      guard case .bytes(5) = pair.client.write("hello") else { throw Unexpected() }
      #expect(pair.server.readAll().text == "hello")
      guard case .bytes(5) = pair.server.write("there") else { throw Unexpected() }
      #expect(pair.client.readAll().text == "there")
    }
  }

  /// Bytes that do not fit into the socket are written later, and nothing is lost or doubled.
  @Test func aFullSocketHoldsTheWriterBack() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let pair = try Pair(
        client: .client(authorities: authority.certificate), server: .server(authority.issue("server")))
      _ = pair.shakeHands()
      let text = String((0..<2_000_000).map { "\($0 % 10)" }.joined())
      let bytes = Array(text.utf8)
      var sent = 0
      var received = ""
      var stalls = 0
      while received.utf8.count < bytes.count {
        while sent < bytes.count {
          // Another buffer each time: OpenSSL must not insist on the first one.
          let rest = Array(bytes[sent...])
          guard case .bytes(let count) = rest.withUnsafeBytes({ pair.client.write($0) }) else { break }
          sent += count
        }
        stalls += 1
        received += pair.server.readAll().text
      }
      #expect(received == text)
      #expect(stalls > 1)
    }
  }

  @Test func aGoodbyeIsToldFromACut() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let contexts = (
        client: try TLSContext.client(authorities: authority.certificate),
        server: try TLSContext.server(authority.issue("server"))
      )
      let polite = try Pair(client: contexts.client, server: contexts.server)
      _ = polite.shakeHands()
      _ = polite.server.write("all of it")
      guard case .done = polite.server.close() else { throw Unexpected() }
      let whole = polite.client.readAll()
      #expect(whole.text == "all of it")
      guard case .closed = whole.end else { throw Unexpected(what: "\(whole.end)") }
      // The other direction is still open.
      guard case .bytes = polite.client.write("goodbye") else { throw Unexpected() }
      #expect(polite.server.readAll().text == "goodbye")

      let cut = try Pair(client: contexts.client, server: contexts.server)
      _ = cut.shakeHands()
      _ = cut.server.write("a part")
      cut.closeServer()
      let part = cut.client.readAll()
      #expect(part.text == "a part")
      guard case .failed(let error) = part.end else { throw Unexpected(what: "\(part.end)") }
      #expect(error.kind == .truncated)
      #expect(error.description == "the connection ended without TLS's close_notify")
    }
  }

  /// A write to a peer that has gone is an error, not the end of the process (SIGPIPE).
  @Test func aWriteToNobodyFails() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let pair = try Pair(
        client: .client(authorities: authority.certificate), server: .server(authority.issue("server")))
      _ = pair.shakeHands()
      let handler = signal(SIGPIPE, SIG_DFL)
      defer { _ = signal(SIGPIPE, handler) }
      pair.closeServer()
      guard case .failed(let error) = pair.client.write("anybody there?") else { throw Unexpected() }
      #expect(error == TLSError(.system, "Broken pipe"))
      guard case .done = pair.client.close() else { throw Unexpected() }
    }
  }

  /// What the peer sent before it closed is still read after a write has failed.
  @Test func whatWasSaidLastIsReadAfterAFailedWrite() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let pair = try Pair(
        client: .client(authorities: authority.certificate),
        server: .server(authority.issue("server")) {
          $0.verification = .required
          $0.authorities = authority.certificate
        })
      let errors = pair.shakeHands()
      #expect(errors.client == nil, "TLS 1.3 tells a client only after the handshake")
      #expect(errors.server == TLSError(.violation, "the peer sent no certificate"))
      pair.closeServer()
      guard case .failed = pair.client.write("hello") else { throw Unexpected() }
      guard case .failed(let error) = pair.client.readAll().end else { throw Unexpected() }
      #expect(
        error
          == TLSError(
            .refused, "the peer rejected the TLS handshake: it requires a client certificate, and none is configured"))
    }
  }

  @Test func sessionsAreGoneOnWith() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let client = try TLSContext.client(authorities: authority.certificate)
      let server = try TLSContext.server(authority.issue("server"))
      func connect(_ peer: String, name: String = "localhost") throws -> Bool {
        let pair = try Pair(client: client, server: server, name: name, peer: peer)
        let errors = pair.shakeHands()
        #expect(errors.client == nil && errors.server == nil)
        _ = pair.server.write("x")
        #expect(pair.client.readAll().text == "x")
        #expect(pair.client.isResumed == pair.server.isResumed)
        return pair.client.isResumed
      }
      #expect(try !connect("one"))
      #expect(try connect("one"))
      #expect(try connect("one"))
      #expect(try !connect("two"), "another server's session")
      #expect(try !connect("one", name: "127.0.0.1"), "a session whose certificate was checked for another name")
    }
  }

  /// Mutual TLS, and resumption with it.
  @Test func clientsShowTheirCertificates() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let own = try authority.issue("client", for: [], usage: .client)
      let client = try TLSContext.client(authorities: authority.certificate) {
        $0.certificate = own.certificate
        $0.key = own.key
      }
      let server = try TLSContext.server(authority.issue("server")) {
        $0.verification = .required
        $0.authorities = authority.certificate
      }
      for isResumed in [false, true] {
        let pair = try Pair(client: client, server: server)
        let errors = pair.shakeHands()
        #expect(errors.client == nil)
        #expect(errors.server == nil)
        _ = pair.server.write("x")
        #expect(pair.client.readAll().text == "x")
        #expect(pair.client.isResumed == isResumed)
      }
    }
  }
}
