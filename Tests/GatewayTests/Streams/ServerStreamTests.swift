import Foundation
import TestSupport
import Testing

/// Streams of one request: snapshots and elections.
@Suite(.timeLimit(.minutes(15)))
struct ServerStreamTests {
  @Test(arguments: EtcdVersion.allCases, Front.allCases)
  func theFramesOfASnapshotAreAFile(_ version: EtcdVersion, _ front: Front) async throws {
    try await withFront(front, version) { etcd, url in
      try await fill(etcd)
      let stream = try await JSONStream.open(url, "/v3/maintenance/snapshot", "{}", joinsChunks: front.joinsChunks)
      var file = Data()
      var total: Int?
      while let result = try await stream.next() {
        let blob = try #require(Data(base64Encoded: result["blob"]?.string ?? ""), "\(result.description.prefix(200))")
        file += blob
        let left = result["remaining_bytes"]?.string.flatMap { Int($0) } ?? 0
        // What remains must agree with the frames; after the last ones nothing remains.
        total = total ?? (file.count + left)
      }
      #expect(try #require(total) <= file.count)
      try await expectSnapshot(file, etcd)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func aSnapshotIsADownload(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      try await fill(etcd)
      let response = try await gateway.http.get("/snapshot")
      #expect(response.status == 200 && response[header: "Content-Type"] == "application/octet-stream")
      #expect(response[header: "Content-Length"] == "\(response.body.count)")
      try await expectSnapshot(Data(response.body), etcd)
    }
  }

  @Test func aSnapshotIsForThoseWhoMayTakeIt() async throws {
    try await withAuth(.v3_5) { _, gateway in
      expectStatus(401, try await gateway.http.get("/snapshot"))
      expectStatus(403, try await gateway.http.get("/snapshot", user: "ann:annpw"))
      expectStatus(200, try await gateway.http.get("/snapshot", user: AuthFixture.root))
    }
  }

  /// A client that does not read fills the window of the call's stream at etcd, and no more.
  @Test(arguments: ["POST /v3/maintenance/snapshot", "GET /snapshot"])
  func aClientThatDoesNotReadHoldsEtcdBack(_ request: String) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1", "--stall-timeout", "1h"]) { etcd, gateway in
      for number in 0..<64 { try await etcd.put("\(number)", String(repeating: "x", count: 1 << 20)) }
      let memory = gateway.process.residentBytes
      let connection = try await HTTPConnection.connect(to: gateway.url)
      await connection.setReceiveBuffer(bytes: 65536)
      try await connection.send("\(request) HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
      let head = try await connection.receiveHead()
      #expect(head.status == 200)
      // Until nothing more moves on either side.
      var sent = try await etcd.metric("etcd_network_client_grpc_sent_bytes_total")
      _ = try await eventually("standstill", every: .milliseconds(200)) { () -> Bool? in
        let now = try await etcd.metric("etcd_network_client_grpc_sent_bytes_total")
        defer { sent = now }
        return now == sent ? true : nil
      }
      #expect(gateway.process.residentBytes - memory < 16 << 20)
      await connection.setReceiveBuffer(bytes: 4 << 20)
      var count = 0
      while let part = try await connection.receivePart() { count += part.count }
      #expect(count > 64 << 20)
    }
  }

  @Test(arguments: EtcdVersion.allCases, Front.allCases)
  func anElectionIsObserved(_ version: EtcdVersion, _ front: Front) async throws {
    try await withFront(front, version) { etcd, url in
      let stream = try await JSONStream.open(url, "/v3/election/observe", #"{"name":"eA=="}"#)
      try await etcd.call("/v3/lease/grant", ["ID": "7", "TTL": "60"])
      let campaign: JSON = ["name": "eA==", "lease": "7", "value": .string("first".base64)]
      let leader = try #require(try await etcd.call("/v3/election/campaign", campaign)["leader"])
      #expect(try await stream.next()?["kv"]?["value"]?.string?.fromBase64 == "first")
      try await etcd.call("/v3/election/proclaim", ["leader": leader, "value": .string("second".base64)])
      #expect(try await stream.next()?["kv"]?["value"]?.string?.fromBase64 == "second")
    }
  }

  private func fill(_ etcd: EtcdProcess) async throws {
    for number in 0..<8 { try await etcd.put("key \(number)", String(repeating: "\(number)", count: 200_000)) }
  }

  private func expectSnapshot(_ file: Data, _ etcd: EtcdProcess) async throws {
    try await withTemporaryDirectory { directory in
      let path = "\(directory)/snapshot.db"
      try file.write(to: URL(fileURLWithPath: path))
      let status = try await etcd.etcdctl("snapshot", "status", path, "--write-out", "json")
      let json = try JSON(parsing: Array(status.utf8))
      #expect(json["revision"] == 9 && (json["totalKey"]?.number ?? 0) >= 8, "\(json)")
    }
  }
}
