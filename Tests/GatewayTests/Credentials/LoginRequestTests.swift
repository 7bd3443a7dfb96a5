import EtcdSchema
import TestSupport
import Testing

/// Logins that clients make themselves.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct LoginRequestTests {
  private static let path = "/v3/auth/authenticate"

  /// Before the login no client has credentials.
  @Test(arguments: EtcdVersion.allCases)
  func aLoginMayComeInChunks(_ version: EtcdVersion) async throws {
    try await withAuth(version) { _, gateway in
      let body = #"{"name":"ann","password":"annpw"}"#
      for _ in 0..<2 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", Self.path, headers: [("Transfer-Encoding", "chunked")])
        try await connection.send("\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n")
        let answer = try await connection.receive()
        expectStatus(200, answer)
        #expect(try answer.json["token"]?.string?.isEmpty == false)
      }
      // So the limit is small.
      let large = try await HTTPConnection.connect(to: gateway.url)
      try await large.sendRequest("POST", Self.path, headers: [("Transfer-Encoding", "chunked")])
      try await large.send("11170\r\n" + String(repeating: " ", count: 70_000) + "\r\n")
      let refusal = try await large.receive()
      expectError(refusal, 413)
      #expect(refusal.message?.contains("65536") == true, "\(refusal)")
      let announced = try await HTTPConnection.connect(to: gateway.url)
      try await announced.sendRequest("POST", Self.path, headers: [("Content-Length", "70000")])
      expectError(try await announced.receive(), 413)
    }
  }

  /// A client that has the password may log in as often as it likes: etcd is asked once at a time.
  @Test func loginsOfAUserWhoIsKnownAreOne() async throws {
    let gate = ScriptedPeer.Gate()
    let body = #"{"name":"ann","password":"secret"}"#
    let later = ScriptedPeer.Answer.message(Etcdserverpb_AuthenticateResponse.with { $0.token = "later" }).after(gate)
    try await withScriptedEtcd(script: { _ in .range }, logIn: { call, _ in call.attempt == 1 ? nil : later }) {
      peer, gateway in
      expectStatus(200, try await gateway.http.post(Self.path, body))
      var connections: [HTTPConnection] = []
      for _ in 0..<40 {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.sendRequest("POST", Self.path, body: Array(body.utf8))
        connections.append(connection)
      }
      try await peer.wait(for: "a login") { $0.streams(of: RPCPath.authenticate).count > 1 }
      for _ in 0..<3 { expectStatus(200, try await gateway.http.get("/livez")) }
      gate.open()
      for connection in connections {
        let answer = try await connection.receive()
        expectStatus(200, answer)
        #expect(try answer.json["token"] == "later")
      }
      let count = peer.record.streams(of: RPCPath.authenticate).count
      #expect(count < 10, "\(count) logins")
    }
  }
}
