import TestSupport
import Testing

/// The time limits of calls, and what ends calls early.
@Suite(.repeatedAfterPauses(of: .seconds(2))) struct DeadlineTests {
  private static let range: JSON = ["key": "YQ=="]

  @Test(arguments: EtcdVersion.allCases)
  func clientsMaySayHowLong(_ version: EtcdVersion) async throws {
    // So that only the client's limit ends a call.
    let limits = ["--request-timeout", "1h", "--max-request-timeout", "1h"]
    try await withEtcdAndGateway(version, gateway: limits) { etcd, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      for (name, value) in [
        ("Grpc-Timeout", "5S"), ("Grpc-Timeout", "5000m"), ("Grpc-Timeout", "1M"), ("Grpc-Timeout", "99999999H"),
        ("Request-Timeout", "5"), ("Request-Timeout", "2.5"), ("Request-Timeout", "86400"),
        ("Request-Timeout", "3.0E2"),
      ] {
        let response = try await connection.post("/v3/kv/range", Self.range, headers: [(name, value)])
        #expect(response.status == 200, "\(name): \(value): \(response)")
      }
      for (name, value) in [
        ("Grpc-Timeout", "x"), ("Grpc-Timeout", "5"), ("Grpc-Timeout", "5X"), ("Grpc-Timeout", "-5S"),
        ("Grpc-Timeout", "S"), ("Grpc-Timeout", "1.5S"), ("Grpc-Timeout", "123456789S"), ("Request-Timeout", "x"),
        ("Request-Timeout", "-1"), ("Request-Timeout", "5s"), ("Request-Timeout", "nan"), ("Request-Timeout", "inf"),
        ("Request-Timeout", "0x5"), ("Request-Timeout", "+5"), ("Request-Timeout", "1e9"),
      ] {
        let response = try await connection.post("/v3/kv/range", Self.range, headers: [(name, value)])
        expectError(response, 400, code: 3, "\(name): \(value)")
      }

      etcd.pause()
      for (name, value) in [("Grpc-Timeout", "600m"), ("Request-Timeout", "0.6")] {
        let start = ContinuousClock.now
        let response = try await connection.post("/v3/kv/range", Self.range, headers: [(name, value)])
        let duration = ContinuousClock.now - start
        expectError(response, 504, code: 4, "\(name): \(value)")
        // A loop on a busy machine counts from a little before the request came.
        #expect(duration > .milliseconds(300), "\(name): \(value): \(duration)")
      }
      etcd.resume()
      #expect(try await connection.post("/v3/kv/range", Self.range).status == 200)
    }
  }

  @Test func theGatewayHasALimitOfItsOwn() async throws {
    // A silent member is not given up before that.
    let patience = ["--suspect-after", "1h", "--keepalive-time", "1h"]
    let limits = ["--request-timeout", "3s", "--max-request-timeout", "6s"] + patience
    try await withEtcdAndGateway(.v3_5, gateway: limits) { etcd, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      #expect(try await connection.post("/v3/kv/range", Self.range).status == 200)
      etcd.pause()
      for (headers, least) in [([], 2500), ([("Grpc-Timeout", "1H")], 5500)] as [([(String, String)], Int)] {
        let start = ContinuousClock.now
        let response = try await connection.post("/v3/kv/range", Self.range, headers: headers)
        let duration = ContinuousClock.now - start
        expectError(response, 504, code: 4, "\(headers)")
        #expect(duration > .milliseconds(least), "\(headers): \(duration)")
      }
      etcd.resume()
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func locksWaitOnUnlessTheClientSaysHowLong(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version, gateway: ["--request-timeout", "3s"]) { _, gateway in
      let holder = try await HTTPConnection.connect(to: gateway.url)
      let lock = try await holder.post("/v3/lock/lock", ["name": "bA=="])
      let key = try #require(try lock.json["key"])

      let hasty = try await HTTPConnection.connect(to: gateway.url)
      let late = try await hasty.post("/v3/lock/lock", ["name": "bA=="], headers: [("Grpc-Timeout", "300m")])
      expectError(late, 504, code: 4, "a lock with Grpc-Timeout")

      let patient = try await HTTPConnection.connect(to: gateway.url)
      async let granted = patient.post("/v3/lock/lock", ["name": "bA=="])
      // The limit of all other calls passes twice while the lock is held.
      try await Task.sleep(for: .seconds(7))
      #expect(try await holder.post("/v3/lock/unlock", ["key": key]).status == 200)
      #expect(try await granted.status == 200)
    }
  }

  @Test(arguments: EtcdVersion.allCases, [false, true])
  func aClientThatLeavesCancelsItsCall(_ version: EtcdVersion, byReset: Bool) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let holder = try await HTTPConnection.connect(to: gateway.url)
      #expect(try await holder.post("/v3/lock/lock", ["name": "bA=="]).status == 200)

      let leaving = try await HTTPConnection.connect(to: gateway.url)
      let body = #"{"name":"bA=="}"#
      try await leaving.send(
        "POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
      _ = try await eventually("second lock at etcd") { try await etcd.callsStarted(of: "Lock") == 2 ? true : nil }
      await byReset ? leaving.reset() : leaving.close()
      _ = try await eventually("end of the second lock") { () -> Bool? in
        try await etcd.metric("grpc_server_handled_total", ["grpc_method": "Lock"]) == 2 ? true : nil
      }
    }
  }
}
