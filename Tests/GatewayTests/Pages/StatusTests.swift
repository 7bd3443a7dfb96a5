import Foundation
import GrpcBridge
import TestSupport
import Testing

@testable import Gateway

/// The status page and `/status`: what they show, and to which clients.
@Suite(.timeLimit(.minutes(10)))
struct StatusTests {
  @Test func membersAndTheLeaderAreTold() async throws {
    try await withEtcdCluster(.v3_5, members: 3) { members in
      try await withGateway(members.map(\.url)) { gateway in
        let status = try await eventually("connections to all members") { () -> JSON? in
          let status = try await gateway.http.get("/status").json
          let states = (status["members"]?.array ?? []).map { $0["connection"]?.string }
          return states == ["ready", "ready", "ready"] ? status : nil
        }
        #expect(status["healthy"] == true && status["reason"]?.string == "")
        let told = Set((status["members"]?.array ?? []).flatMap { ($0["endpoints"]?.array ?? []).map(\.string) })
        #expect(told == Set(members.map(\.url)))
        let leaders = (status["members"]?.array ?? []).filter { $0["leader"] == true }
        #expect(leaders.count == 1 && leaders[0]["name"]?.string == status["etcd"]?["leader"]?.string, "\(status)")
        let page = try await gateway.http.get("/").text
        for name in (status["members"]?.array ?? []).map({ $0["name"]?.string ?? "?" }) {
          #expect(page.contains("<td>\(name)</td>"), "\(page)")
        }
        #expect(page.contains("<td>leader</td>") && page.contains("<td>follower</td>"))
      }
    }
  }

  /// Requests are in the history, and the page shows it without a script.
  @Test func theLastMinutesAreTold() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let history = try await eventually("a span with requests") { () -> [JSON]? in
        #expect(try await gateway.http.get("/keys/a").status == 404)
        let history = try await gateway.http.get("/status").json["history"]?.array ?? []
        return history.contains { ($0["requests_per_second"]?.number ?? 0) > 0 } ? history : nil
      }
      let span = try #require(history.last { ($0["requests_per_second"]?.number ?? 0) > 0 })
      let (median, slowest) = (try #require(span["median_seconds"]?.number), try #require(span["p99_seconds"]?.number))
      #expect(0 < median && median <= slowest && span["errors_per_second"]?.number == 0, "\(span)")
      let page = try await gateway.http.get("/").text
      #expect(
        page.components(separatedBy: "<svg ").count == 5 && page.components(separatedBy: "<script").count == 2
          && !page.contains("style=\""))
    }
  }

  /// With an address for operators, it is only there.
  @Test func operatorsHaveItToThemselves() async throws {
    try await withEtcd(.v3_5) { etcd in
      let arguments = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
      try await withGateway([etcd.url], arguments) { gateway in
        let admin = HTTPClient(gateway.urls[1])
        #expect(try await gateway.http.get("/status").status == 404)
        let page = try await gateway.http.get("/")
        #expect(page.status == 200 && !page.text.contains("<h2>Members") && page.text.contains("Say hello"))
        #expect(try await admin.get("/status").json["members"]?.array?.count == 1)
        let shown = try await admin.get("/").text
        #expect(shown.contains("<h2>Members") && shown.contains("<svg ") && !shown.contains("Say hello"), "\(shown)")
        for link in ["metrics", "health", "status"] {
          #expect(shown.contains("href=\"\(link)\""))
          #expect(try await admin.get("/\(link)").status == 200)
        }
      }
    }
  }

  /// A page whose name resolves to the gateway (DNS rebinding) learns nothing of the members.
  @Test func aForeignNameIsToldLess() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      func ask(_ path: String) async throws -> TestSupport.HTTPResponse {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("GET \(path) HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        return try await connection.receive()
      }
      #expect(try await ask("/status").status == 421)
      let page = try await ask("/")
      #expect(page.status == 200 && !page.text.contains(String(etcd.url.dropFirst("http://".count))), "\(page)")
    }
  }

  /// A user who may not list etcd's members sees only the endpoints.
  @Test func withoutRightsTheEndpointsAreTold() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword)
      let status = try await gateway.http.get("/status").json
      let endpoints = (status["members"]?.array ?? []).flatMap { ($0["endpoints"]?.array ?? []).map(\.string) }
      #expect(status["healthy"] == true && endpoints.count == 1, "\(status)")
      await etcd.kill()
      let sick = try await gateway.http.get("/status")
      #expect(sick.status == 200)
      #expect(try sick.json["healthy"] == false && sick.json["reason"]?.string != "", "\(sick)")
    }
  }

  @Test func theHistoryIsBounded() {
    let history = StatusHistory()
    for time in 0..<1000 { history.append(.init(time: UInt64(time))) }
    #expect(history.moments.count == 61)
    #expect(history.moments.last?.time == 999)
  }

  @Test(
    arguments: [
      ([0, 10], 0.5, 0.00035), ([10], 0.5, 0.0001), ([], 0.5, nil), (Array(repeating: 0, count: 15) + [3], 0.99, 10),
      ([1, 0, 0, 1], 1, 0.002),
    ] as [([UInt64], Double, Double?)])
  func quantilesAreThoseOfPrometheus(_ counts: [UInt64], _ part: Double, _ expected: Double?) {
    let quantile = StatusReport.Span.quantile(part, of: counts)
    #expect((quantile == nil) == (expected == nil))
    if let quantile, let expected { #expect(abs(quantile - expected) < 1e-9) }
  }
}
