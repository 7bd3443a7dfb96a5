import Foundation
import TestSupport
import Testing

/// Locks and elections with authentication on, when etcd removes no client from its queue (etcd issue 13330).
@Suite struct LockQueueTests {
  /// The queue: the lock `l`, or the election `l`.
  enum Queue: CaseIterable, CustomTestStringConvertible {
    case lock, election

    var testDescription: String { "\(self)" }
    var path: String { self == .lock ? "/v3/lock/lock" : "/v3/election/campaign" }

    func request(lease: Int? = nil) -> JSON {
      var request: JSON = ["name": .string("l".base64)]
      if let lease { request["lease"] = .string("\(lease)") }
      return request
    }
  }

  private static let user = "ann:annpw"

  @Test(arguments: EtcdVersion.allCases, Queue.allCases)
  func aWaitThatOutlivesItsTokenIsInTheQueueOnce(_ version: EtcdVersion, _ queue: Queue) async throws {
    try await withAuth(version) { fixture, gateway in
      let key = try await fixture.hold(queue, lease: 71)
      for lease in [nil, 72] as [Int?] {
        async let waiting = gateway.http.post(queue.path, queue.request(lease: lease), user: Self.user)
        try await fixture.awaitPlaces(2)
        // The same password, but all tokens of the user are gone.
        try await fixture.asRoot("/v3/auth/user/changepw", ["name": "ann", "password": "annpw"])
        try await fixture.asRoot("/v3/kv/deleterange", ["key": .string(key.base64)])
        let answer = try await waiting
        #expect(answer.status == 200, "\(answer)")
        try await fixture.awaitPlaces(1)
        try await fixture.clear()
        try await fixture.hold(queue, lease: 71)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases, Queue.allCases)
  func aClientThatLeavesTakesItsPlaceAlong(_ version: EtcdVersion, _ queue: Queue) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.hold(queue, lease: 71)
      for lease in [nil, 72] as [Int?] {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        let body = Array(queue.request(lease: lease).description.utf8)
        try await connection.send(
          "POST \(queue.path) HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \(Self.user.base64)\r\n"
            + "Content-Length: \(body.count)\r\n\r\n" + String(decoding: body, as: UTF8.self))
        try await fixture.awaitPlaces(2)
        await connection.close()
        try await fixture.awaitPlaces(1)

        let socket = try await WebSocketClient.connect(gateway.url, queue.path, user: Self.user)
        try await socket.send(queue.request(lease: lease))
        try await fixture.awaitPlaces(2)
        // Not a close frame, which would be read after the answer: a WebSocket is not read while a call is under way.
        await socket.close()
        try await fixture.awaitPlaces(1)
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoeverIsToldThatItHasFailedIsInTheQueueNoMore(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.hold(.lock, lease: 71)
      for lease in [nil, 72] as [Int?] {
        let answer = try await gateway.http.post(
          Queue.lock.path, Queue.lock.request(lease: lease), user: Self.user,
          headers: [("Grpc-Timeout", "300m")])
        #expect(answer.status == 504, "\(answer)")
        let places = try await fixture.places()
        #expect(places == 1)
      }
    }
  }

  @Test func aKeyStaysForAsLongAsAnyCallWaitsByIt() async throws {
    try await withAuth(.v3_5) { fixture, gateway in
      let key = try await fixture.hold(.lock, lease: 71)
      let first = try await WebSocketClient.connect(gateway.url, Queue.lock.path, user: Self.user)
      try await first.send(Queue.lock.request(lease: 72))
      try await fixture.awaitPlaces(2)
      let locks = try await fixture.etcd.callsStarted(of: "Lock")
      async let second = gateway.http.post(
        Queue.lock.path, Queue.lock.request(lease: 72), user: Self.user)
      _ = try await eventually("the second call") {
        try await fixture.etcd.callsStarted(of: "Lock") > locks ? true : nil
      }
      await first.close()
      try await fixture.asRoot("/v3/kv/deleterange", ["key": .string(key.base64)])
      #expect(try await second.status == 200)
      let places = try await fixture.places()
      #expect(places == 1)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func whoMayNotIsToldSoAndLeavesNothing(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      try await fixture.asRoot("/v3/auth/user/add", ["name": "bob", "password": "bobpw"])
      for queue in Queue.allCases {
        let answer = try await gateway.http.post(queue.path, queue.request(), user: "bob:bobpw")
        // etcd's lock service passes errors on without their codes; the gateway recognises them by their text.
        let reason = try answer.json["error"]?.string
        #expect(answer.status == 403 && reason?.hasSuffix("permission denied") == true, "\(answer)")
        let wrong = try await gateway.http.post(queue.path, queue.request(), user: "bob:wrong")
        #expect(wrong.status == 401, "\(wrong)")
      }
      let leases = try await fixture.leases()
      #expect(leases == 0)
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func anObservationOutlivesItsToken(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      let key = try await fixture.hold(.election, lease: 71)
      let observation: JSON = ["name": .string("l".base64)]
      let stream = try await JSONStream.open(
        gateway.url, "/v3/election/observe", observation.description, user: Self.user)
      let first = try #require(try await stream.next())
      #expect(first["kv"]?["key"]?.string == key.base64, "\(first)")
      for lease in [72, 73] {
        try await fixture.asRoot("/v3/auth/user/changepw", ["name": "ann", "password": "annpw"])
        try await fixture.clear()
        let next = try await fixture.hold(.election, lease: lease)
        let leader = try #require(try await stream.next())
        #expect(leader["kv"]?["key"]?.string == next.base64, "\(leader)")
      }
    }
  }
}

extension AuthFixture {
  /// Has root hold the lock or lead the election `l`.
  ///
  /// - Returns: the key.
  @discardableResult
  fileprivate func hold(_ queue: LockQueueTests.Queue, lease: Int) async throws -> String {
    let token = try await etcd.token(user: "root", password: Self.rootPassword)
    for other in [lease, 72] {
      _ = try await etcd.http.post(
        "/v3/lease/grant", ["ID": .string("\(other)"), "TTL": "600"], headers: [("Authorization", token)])
    }
    try await etcd.call(queue.path, queue.request(lease: lease), token: token)
    return "l/" + String(lease, radix: 16)
  }

  /// How many keys the queue has.
  fileprivate func places() async throws -> Int {
    let token = try await etcd.token(user: "root", password: Self.rootPassword)
    let answer = try await etcd.call(
      "/v3/kv/range", ["key": .string("l/".base64), "range_end": .string("l0".base64), "count_only": true],
      token: token)
    return Int(answer["count"]?.string ?? "0") ?? 0
  }

  fileprivate func awaitPlaces(_ count: Int) async throws {
    _ = try await eventually("\(count) places", every: .milliseconds(30)) {
      try await places() == count ? true : nil
    }
  }

  fileprivate func clear() async throws {
    try await asRoot("/v3/kv/deleterange", ["key": .string("l/".base64), "range_end": .string("l0".base64)])
  }
}
