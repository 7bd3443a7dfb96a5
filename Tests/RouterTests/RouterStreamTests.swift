import EtcdSchema
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Gateway
@testable import GrpcBridge

/// Streams whose clients send many requests at once: other clients of the shard are served in between.
@Suite(.timeLimit(.minutes(15)))
struct RouterStreamTests {
  private static let creation = #"{"create_request":{"key":"YQ==","watch_id":"7"}}"#

  /// A watch, requests that need no answer, as there is no such watch, and a second watch, which is one too many.
  private static func requests(_ count: Int) -> String {
    creation + String(repeating: #"{"cancel_request":{}}"#, count: count) + creation
  }

  /// Runs `body` before an etcd that creates no watch, but writes.
  private static func withRouterOfOneWatch(_ body: (Router) throws -> Void) throws {
    try withRouter {
      $0.bridge.maxWatches = 1
    } _: { router, etcd in
      etcd.on(EtcdRPC.watch, script: { _ in .hang })
      etcd.on(EtcdRPC.put) { _ in .with { $0.header.revision = 8 } }
      try body(router)
    }
  }

  /// The call for the watch; nil before it has come to etcd.
  private static func watch(_ router: Router) -> ScriptedPeer.Stream? {
    router.calls(of: EtcdRPC.watch).first { call in
      let request = try? Etcdserverpb_WatchRequest(serializedBytes: call.messages.first ?? [])
      return request?.createRequest.key == Data("a".utf8)
    }
  }

  private static func expectService(_ router: Router) throws {
    for _ in 0..<3 { expectStatus(200, try router.request("PUT", "/keys/a", body: "v")) }
  }

  @Test func aBodyOfManyRequestsHoldsNobodyUp() throws {
    try Self.withRouterOfOneWatch { router in
      let stream = router.begin("POST", "/v3/watch", body: [Self.requests(10_000)])
      try router.turn("the first request") { Self.watch(router) != nil }
      try Self.expectService(router)
      #expect(stream.ending == nil)
      try router.turn("the last request") { stream.ending != nil }
      expectError(try stream.response(), 429, code: GRPCCode.resourceExhausted.rawValue, "--max-watches")
    }
  }

  @Test func aMessageOfManyRequestsHoldsNobodyUp() throws {
    try Self.withRouterOfOneWatch { router in
      let client = router.begin("GET", "/v3/watch", headers: Self.handshake)
      try router.turn("the WebSocket") { client.ending == .takenOver }
      let socket = try client.openSocket()
      defer { close(socket) }
      // Small enough for the buffer of the socket.
      let frame = WebSocketFrame(WebSocketFrame.Opcode.text, Array(Self.requests(4000).utf8)).encoded()
      try #require(write(socket, frame, frame.count) == frame.count)
      try router.turn("the first request") { Self.watch(router) != nil }
      try Self.expectService(router)
      #expect(Self.receive(from: socket) == nil)
      var answer: String?
      try router.turn("the last request") {
        answer = answer ?? Self.receive(from: socket)
        return answer != nil
      }
      #expect(answer?.contains("--max-watches") == true, "\(answer ?? "")")
    }
  }

  private static let handshake = [
    ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
  ]

  /// What has come from the gateway; nil if that is nothing.
  private static func receive(from socket: Int32) -> String? {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = recv(socket, &bytes, bytes.count, 0)
    return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
  }

  @Test func aClientThatLeavesTakesItsRequestsAlong() throws {
    try Self.withRouterOfOneWatch { router in
      let stream = router.begin("POST", "/v3/watch", body: [Self.requests(10_000)])
      try router.turn("the first request") { Self.watch(router) != nil }
      stream.leave()
      try router.turn("the end of the watch") { Self.watch(router)?.reset != nil && stream.ending != nil }
      #expect(stream.ending == .cut)
      try Self.expectService(router)
    }
  }
}
