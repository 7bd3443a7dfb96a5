import TestSupport
import Testing

/// Keepalives of leases.
@Suite(.timeLimit(.minutes(15)))
struct LeaseKeepAliveTests {
  @Test(arguments: EtcdVersion.allCases, Front.allCases)
  func everyRequestHasItsAnswer(_ version: EtcdVersion, _ front: Front) async throws {
    try await withFront(front, version) { etcd, url in
      for id in ["7", "8"] { try await etcd.call("/v3/lease/grant", ["ID": .string(id), "TTL": "600"]) }
      let stream = try await JSONStream.open(url, "/v3/lease/keepalive", #"{"ID":"7"}{"ID":"9"} {"ID":8}{"ID":"7"}"#)
      for (id, ttl) in [("7", "600"), ("9", nil), ("8", "600"), ("7", "600")] as [(String, JSON?)] {
        let answer = try #require(try await stream.next())
        #expect(answer["ID"]?.string == id && answer["TTL"] == ttl, "\(answer)")
      }
      #expect(try await stream.next() == nil)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func manyClientsShareAStream(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: shardArguments) { etcd, gateway in
      let count = 1000
      let holder = try await HTTPConnection.connect(to: etcd.url)
      for id in 1...count {
        let granted = try await holder.post("/v3/lease/grant", ["ID": .string("\(id)"), "TTL": "600"])
        try #require(granted.status == 200, "\(granted)")
      }
      for _ in 0..<2 {
        let answers = try await withThrowingTaskGroup(of: (Int, HTTPResponse).self) { group in
          for id in 1...count {
            group.addTask { (id, try await gateway.http.post("/v3/lease/keepalive", ["ID": .string("\(id)")])) }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        for (id, response) in answers {
          let result = try response.json["result"]
          #expect(result?["ID"]?.string == "\(id)" && result?["TTL"] == "600", "\(response)")
        }
      }
      #expect(try await etcd.callsStarted(of: "LeaseKeepAlive") <= shards)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func keepalivesGoOnAfterTheMember(_ version: EtcdVersion) async throws {
    try await withAuth(version, gateway: ["--shards", "1"]) { fixture, gateway in
      try await fixture.asRoot("/v3/lease/grant", ["ID": "7", "TTL": "600"])
      for _ in 0..<3 {
        let response = try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"], user: "ann:annpw")
        #expect(try response.json["result"]?["TTL"] == "600", "\(response)")
        await fixture.etcd.kill()
        try await fixture.etcd.start()
      }
    }
  }

  @Test func aLeaseIsKeptAliveForWhomItIsAsked() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      try await etcd.call("/v3/lease/grant", ["ID": "7", "TTL": "1000"])
      func left() async throws -> Int {
        Int(try await etcd.call("/v3/lease/timetolive", ["ID": "7"])["TTL"]?.string ?? "") ?? 0
      }
      for _ in 0..<2 {
        let aged = try await eventually("a lease that has aged", every: .milliseconds(50)) {
          let now = try await left()
          return now < 999 ? now : nil
        }
        _ = try await eventually("a renewed lease") { () -> Bool? in
          let response = try await gateway.http.post("/v3/lease/keepalive", ["ID": "7"])
          #expect(try response.json["result"]?["TTL"] == "1000", "\(response)")
          return try await left() > aged ? true : nil
        }
      }
    }
  }
}
