import Foundation
import Synchronization
import TestSupport
import Testing

@testable import TLS

/// Files: faults are reported with the file's name, and new content is noticed.
@Suite struct TLSFileTests {
  @Test func whatIsWrongWithAFileIsSaid() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let good = try authority.issue("good")
      let other = try authority.issue("other")
      let junk = "\(directory)/junk.pem"
      try "no PEM at all".write(toFile: junk, atomically: true, encoding: .utf8)
      let broken = "\(directory)/broken.pem"
      try "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".write(
        toFile: broken, atomically: true, encoding: .utf8)
      let locked = "\(directory)/locked.key"
      try Self.lockedKey.write(toFile: locked, atomically: true, encoding: .utf8)
      let cases: [(authorities: String?, certificate: String?, key: String?, text: String)] = [
        ("/no/ca.pem", nil, nil, "/no/ca.pem: No such file or directory"),
        (directory, nil, nil, "\(directory): not a file"),
        (junk, nil, nil, "\(junk): no certificate can be read from it: "),
        (nil, "/no/cert.pem", good.key, "/no/cert.pem: No such file or directory"),
        (nil, good.certificate, "/no/key.pem", "/no/key.pem: No such file or directory"),
        (nil, junk, good.key, "\(junk): no certificate can be read from it: "),
        (nil, broken, good.key, "\(broken): no certificate can be read from it: "),
        (nil, good.certificate, junk, "\(junk): no private key can be read from it: "),
        (nil, good.certificate, nil, "\(good.certificate): no private key can be read from it: "),
        (nil, good.certificate, locked, "\(locked): the private key has a passphrase; one without is needed"),
        (nil, good.certificate, other.key, "\(other.key): the private key is not that of the certificate"),
      ]
      for test in cases {
        var settings = TLSSettings(.client, verification: .required)
        settings.authorities = test.authorities
        settings.certificate = test.certificate
        settings.key = test.key
        let error = try #require(throws: TLSError.self, "\(test)") { try TLSContext(settings) }
        #expect(error.kind == .file)
        #expect(error.description.hasPrefix(test.text), "\(error), expected \(test.text)")
      }
    }
  }

  @Test func theCommonNameIsKnown() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      for name in [nil, "root", "a, \"b\"\n"] {
        let files = try authority.issue("client", commonName: name)
        let context = try TLSContext.client(authorities: nil) {
          $0.certificate = files.certificate
          $0.key = files.key
        }
        #expect(context.commonName == (name == "a, \"b\"\n" ? #"a\, \"b\"\0A"# : name))
      }
    }
  }

  @Test func renewedFilesAreNoticed() async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let files = try authority.issue("server")
      var settings = TLSSettings(.server, verification: .none)
      settings.certificate = files.certificate
      settings.key = files.key
      let reports = Mutex<[String]>([])
      let source = try RenewableTLSContext(settings) { context throws(TLSError) in
        if let name = context.commonName { throw TLSError(.file, "no \(name), please") }
      } report: { look in
        reports.withLock { $0.append("\(look)") }
      }
      let first = source.current
      #expect(source.current === first)

      // Another authority signs: a client that knows only that one accepts only the new context.
      let other = try TestAuthority("other", in: directory)
      try other.issue("server")
      let second = source.current
      #expect(second !== first)
      #expect(source.current === second)
      let client = try TLSContext.client(authorities: other.certificate)
      #expect(try Pair(client: client, server: second).shakeHands().client == nil)
      #expect(try Pair(client: client, server: first).shakeHands().client?.kind == .verification)

      // An invalid file is reported once, and the old context stays.
      try "junk".write(toFile: files.key, atomically: true, encoding: .utf8)
      for _ in 0..<3 { #expect(source.current === second) }
      guard case .failed(let fault) = source.look() else { throw Unexpected() }
      #expect(fault.description.hasPrefix("\(files.key): no private key can be read from it: "))
      try FileManager.default.removeItem(atPath: files.key)
      #expect(source.current === second)
      try other.issue("server", commonName: "root")
      #expect(source.current === second)

      try other.issue("server")
      #expect(source.current !== second)
      guard case .unchanged = source.look() else { throw Unexpected() }
      let expected = ["renewed", "no private key", "No such file", "no root, please", "renewed"]
      let heard = reports.withLock { $0 }
      #expect(heard.count == expected.count, "\(heard)")
      for (report, word) in zip(heard, expected) { #expect(report.contains(word), "\(report), \(word)") }
    }
  }

  /// A key under a passphrase (of no certificate): made by
  /// `openssl genpkey -algorithm ED25519 -aes256 -pass pass:test`.
  private static let lockedKey = """
    -----BEGIN ENCRYPTED PRIVATE KEY-----
    MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAgDF+xfrFYBMAICCAAw
    DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEI2qPZ28nENjcJxFrQLRh8UEQO0Q
    nUNWREbhNBUSaHq+AXnq//5xFdutcfRxkvkxTM9NO5JirlhMrZFPLQ7QqoMe/9WI
    zXd384tTxAmJ5R7KmXY=
    -----END ENCRYPTED PRIVATE KEY-----
    """
}
