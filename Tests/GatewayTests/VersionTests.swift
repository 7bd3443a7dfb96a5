import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Gateway

/// `GET /version` has to answer every client: clients use it before they log in.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct VersionTests {
  /// etcd's own answer, whatever its users may do, with authentication on and off, through TLS as without it.
  @Test(arguments: EtcdVersion.allCases, [false, true])
  func itIsTheMembersOwn(_ version: EtcdVersion, isSecure: Bool) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let server = try authority.issue("server", for: ["127.0.0.1", "localhost"])
      let client = try authority.issue("client", for: [])
      let tls = isSecure ? EtcdTLS(server, clientAuthorities: authority.certificate) : nil
      let files = ["--cacert", authority.certificate, "--cert", client.certificate, "--key", client.key]
      try await withEtcd(version, tls: tls) { etcd in
        var stock = try await etcd.decidedVersion()
        stock["gateway"] = .string(EtcdRest.version)
        try await etcd.enableAuth(rootPassword: "rootpw")
        let endpoint = isSecure ? etcd.secureURL() : etcd.url
        try await withGateway([endpoint], ["--shards", "1"] + (isSecure ? files : [])) { gateway in
          _ = try await eventually("a connection") {
            try await gateway.http.get("/readyz").status == 200 ? true : nil
          }
          for _ in 0..<3 {
            let answer = try await gateway.http.get("/version")
            #expect(answer.status == 200, "\(answer)")
            #expect(try answer.json == stock)
          }
          // `Status` was not needed, which newer versions answer to root only.
          #expect(try await etcd.callsStarted(of: "Status") == 0)
        }
      }
    }
  }

  /// A peer that only speaks gRPC is asked by `Status`, as before.
  @Test func withoutHTTPItIsAskedFor() async throws {
    try await withScriptedEtcd(
      gateway: ["--dial-timeout", "3s"],
      script: { _ in
        .message([0x12, 5] + Array("3.9.7".utf8))
      }
    ) { peer, gateway in
      let answer = try await gateway.http.get("/version")
      #expect(answer.status == 200, "\(answer)")
      #expect(try answer.json == ["etcdserver": "3.9.7", "etcdcluster": "3.9.0", "gateway": .string(EtcdRest.version)])
    }
  }

  /// A missing answer is remembered for a moment.
  @Test func aMemberThatTellsNothingIsNotAskedEachTime() async throws {
    try await withScriptedEtcd(script: { _ in .message([0x12, 5] + Array("3.9.7".utf8)) }) { peer, gateway in
      expectStatus(200, try await gateway.http.get("/version"))
      let count = peer.record.connections.count
      for _ in 0..<5 { expectStatus(200, try await gateway.http.get("/version")) }
      // On a slow machine the moment may be over.
      #expect(peer.record.connections.count <= count + 2)
    }
  }

  /// An answer is remembered as long as the connection to the member, and no longer: another release may have been
  /// started since then.
  @Test func anAnswerIsRememberedAsLongAsTheConnection() async throws {
    // Whether the next connection to the member is the one for its versions, and how many of these there were.
    let isQuestion = Mutex(false)
    let questions = Mutex(0)
    var settings = ScriptedPeer.Settings()
    settings.welcome = { _ in
      guard isQuestion.withLock({ $0 }) else { return .serve }
      let number = questions.withLock { count in
        count += 1
        return count
      }
      let json = #"{"etcdserver":"3.9.\#(number)","etcdcluster":"3.9.0"}"#
      return .bytes(Array("HTTP/1.0 200 OK\r\nContent-Length: \(json.utf8.count)\r\n\r\n\(json)".utf8))
    }
    try await withScriptedEtcd(settings, gateway: ["--dial-timeout", "1m"], script: { _ in .range }) { peer, gateway in
      for round in 1...3 {
        // One for calls, and one for logins.
        try await peer.wait(for: "both connections") { $0.connections.count { $0.closed == nil } == 2 }
        _ = try await eventually("readiness") { try await gateway.http.get("/readyz").status == 200 ? true : nil }
        isQuestion.withLock { $0 = true }
        for _ in 0..<5 {
          let answer = try await gateway.http.get("/version")
          let expected: JSON = [
            "etcdserver": .string("3.9.\(round)"), "etcdcluster": "3.9.0", "gateway": .string(EtcdRest.version),
          ]
          #expect(try answer.json == expected, "\(answer)")
        }
        isQuestion.withLock { $0 = false }
        #expect(questions.withLock { $0 } == round)
        let lost = try #require(peer.record.streams(of: RPCPath.range).last).connection
        peer.close(connection: lost)
        try await peer.wait(for: "the loss of the connection") { $0.connections[lost].closed != nil }
      }
    }
  }

  @Test(arguments: [
    (#"{"etcdserver":"3.6.4","etcdcluster":"3.6.0","storage":"3.6.0"}"#, true),
    (#"{"etcdserver":"3.5.30","etcdcluster":"not_decided"}"#, true),
    (#"{"etcdserver":"3.5.30","etcdcluster":"3.5.0","more":[1]}"#, true),
    (#"{"etcdserver":"3.5.30"}"#, false),
    (#"{"etcdserver":"3.5.30","etcdcluster":""}"#, false),
    (#"{"etcdserver":"3\"","etcdcluster":"3.5.0"}"#, false),
    (#"{"etcdserver":"<b>","etcdcluster":"3.5.0"}"#, false),
    (#"{"etcdserver":3,"etcdcluster":"3.5.0"}"#, false),
    (#"[]"#, false), ("", false), (String(repeating: "[", count: 10_000), false),
  ])
  func onlyVersionsArePassedOn(text: String, isGood: Bool) throws {
    let versions = MemberVersions(json: Array(text.utf8))
    #expect((versions != nil) == isGood)
    guard let versions, !text.contains("more") else { return }
    let json = versions.json().withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    #expect(json == text.dropLast() + ",\"gateway\":\"\(EtcdRest.version)\"}")
  }
}
