import TestSupport
import Testing

/// Deliberate differences of streams and WebSockets from those of the gateway inside etcd, besides those in
/// `DeliberateDifferences`: what the stock gateway does, so that nothing in the table of
/// docs/architecture/differences.md has to be believed.
@Suite(.timeLimit(.minutes(15)))
struct StreamDeliberateDifferenceTests {
  /// How long to wait for something that the stock gateway never sends.
  private static let patience = Duration.milliseconds(500)
  private static let get = #"{"key":"YQ=="}"#
  private static let watch = #"{"create_request":{"key":"YQ=="}}"#

  @Test(arguments: EtcdVersion.ofUpstream)
  func aWebSocketTakesAnyNumberOfCalls(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let stock = try await WebSocketClient.connect(etcd.url, "/v3/kv/range")
      try await stock.send(Self.get)
      if version == .v3_4 {
        #expect(try await stock.receiveJSON()["header"] != nil)
        try await stock.connection.receiveClose()
      } else {
        await #expect(throws: HTTPFailure.timedOut) { try await stock.receive(timeout: Self.patience) }
      }
      let ours = try await WebSocketClient.connect(gateway.url, "/v3/kv/range")
      for _ in 0..<2 {
        try await ours.send(Self.get)
        #expect(try await ours.receiveJSON()["header"] != nil)
      }
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func notEveryPageOpensAWebSocket(_ version: EtcdVersion) async throws {
    let origin = [("Origin", "https://evil.example")]
    try await withEtcdAndGateway(version) { etcd, gateway in
      let stock = try await WebSocketClient.connect(etcd.url, "/v3/watch", headers: origin)
      try await stock.send(Self.watch)
      #expect(try await stock.receiveJSON()["result"]?["created"] == true)
      await #expect(throws: WebSocketClient.RequestError.self) {
        try await WebSocketClient.connect(gateway.url, "/v3/watch", headers: origin)
      }
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func aWebSocketHasCredentials(_ version: EtcdVersion) async throws {
    try await withAuth(version) { fixture, gateway in
      let token = try await fixture.etcd.token(user: "ann", password: "annpw")
      let cookie = (name: "cookie", [("Cookie", "token=\(token)")], [String]())
      let ways = [
        (name: "header", [("Authorization", token)], []), (name: "scheme", [("Authorization", "Bearer \(token)")], []),
        (name: "subprotocol", [], ["Bearer", token]),
      ]
      for (name, headers, subprotocols) in ways + [cookie] {
        let stock = try await WebSocketClient.connect(
          fixture.etcd.url, "/v3/watch", subprotocols: subprotocols, headers: headers)
        try await stock.send(Self.watch)
        #expect(try await stock.receiveJSON()["result"]?["canceled"] == true, "stock, \(name)")
        let ours = try await WebSocketClient.connect(
          gateway.url, "/v3/watch", subprotocols: subprotocols, headers: headers)
        try await ours.send(Self.watch)
        let answer = try await ours.receiveJSON()
        let isOpen = answer["result"]?["created"] == true && answer["result"]?["canceled"] == nil
        #expect(isOpen == (name != "cookie"), "ours, \(name): \(answer)")
      }
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func aWatchEndsOnceNothingMoreCanCome(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      for _ in 0..<2 { try await etcd.put("a") }
      try await etcd.call("/v3/kv/compaction", ["revision": "3"])
      let body = #"{"create_request":{"key":"YQ==","start_revision":"1"}}"#
      let stock = try await JSONStream.open(etcd.url, "/v3/watch", body)
      let ours = try await JSONStream.open(gateway.url, "/v3/watch", body)
      for stream in [stock, ours] {
        #expect(try await stream.next()?["created"] == true)
        #expect(try await stream.next()?["canceled"] == true)
      }
      await #expect(throws: HTTPFailure.timedOut) { try await stock.next(timeout: Self.patience) }
      #expect(try await ours.next() == nil)
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func aLineIsAChunkAndTheConnectionIsDoneAfterwards(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let stock = try await JSONStream.open(etcd.url, "/v3/watch", Self.watch)
      let ours = try await JSONStream.open(gateway.url, "/v3/watch", Self.watch)
      for stream in [stock, ours] { #expect(try await stream.next()?["created"] == true) }
      #expect(try await stock.head()["Connection"] == nil)
      #expect(try await ours.head()["Connection"] == "close")
      try await etcd.put("a", String(repeating: "x", count: 3000))
      let failure = await #expect(throws: HTTPFailure.self) { try await stock.next() }
      #expect(failure != .timedOut)
      #expect(try await ours.next()?["events"] != nil)
    }
  }

  @Test(arguments: EtcdVersion.ofUpstream)
  func aWatchWithoutARequestIsAnswered(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let stock = try await JSONStream.open(etcd.url, "/v3/watch", "")
      await #expect(throws: HTTPFailure.timedOut) { try await stock.head(timeout: Self.patience) }
      #expect(try await gateway.http.post("/v3/watch", "").status == 400)
    }
  }
}
