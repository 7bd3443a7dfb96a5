import EtcdSchema
import EventLoop
import Foundation
import GrpcBridge
import HTTPServer
import Logging
import TestSupport

@testable import Gateway

/// A shard without a socket: requests come from the test (``SimulatedClient``), and calls go to an etcd in memory
/// (``SimulatedEtcd``). Everything runs on the test's thread. All else is the gateway as it is.
final class Router {
  let etcd: SimulatedEtcd
  let loop: EventLoop
  private let peer: MemoryPeer
  private let shard: LoneShard
  private var clients: [SimulatedClient] = []

  fileprivate init(_ etcd: SimulatedEtcd, _ change: (inout GatewaySettings) -> Void) throws {
    let loop = try EventLoop()
    let peer = MemoryPeer(on: loop, script: etcd.answer(to:))
    let bound = LoopBound(peer, loop: loop)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    var settings = GatewaySettings(endpoints: [try Endpoint("http://etcd.test:2379")])
    settings.bridge.channel.connect = { _ in bound.value.connect() }
    // From the making of the loop on, which may be long before it turns.
    settings.bridge.channel.dialTimeout = 60_000
    change(&settings)
    shard = try LoneShard(on: loop, settings: settings, logger: logger)
    self.etcd = etcd
    self.loop = loop
    self.peer = peer
  }

  fileprivate func close() {
    for client in clients { client.close() }
    shard.close()
    peer.close()
  }

  /// Makes a request and waits for its answer.
  ///
  /// - Parameter user: `USER:PASSWORD`, for Basic credentials.
  /// - Throws: `HTTPFailure.closed` if the answer is not whole.
  func request(
    _ method: String, _ target: String, headers: [(String, String)] = [], user: String? = nil, body: String = ""
  ) throws -> TestSupport.HTTPResponse {
    let client = begin(method, target, headers: headers, user: user, body: body.isEmpty ? [] : [body])
    try turn("an answer to \(method) \(target)") { client.ending != nil }
    return try client.response()
  }

  /// Makes a request, which goes on while the loop is served.
  ///
  /// - Parameter body: the pieces of the body; in chunks if there are several.
  func begin(
    _ method: String, _ target: String, headers: [(String, String)] = [], user: String? = nil, body: [String] = []
  ) -> SimulatedClient {
    var headers = headers
    if let user { headers.append(("Authorization", "Basic \(Data(user.utf8).base64EncodedString())")) }
    let client = SimulatedClient(shard.shard.server, method, target, headers: headers, body: body)
    clients.append(client)
    client.begin()
    return client
  }

  /// Serves the loop until a condition holds.
  ///
  /// - Throws: `TestSupportError` if it does not hold within 90 seconds.
  func turn(_ what: String = "the condition", until condition: () -> Bool) throws {
    var isLate = false
    let limit = LoopTimer(loop: loop) { isLate = true }
    limit.start(after: 90_000)
    loop.run { isLate || condition() }
    if !condition() { throw TestSupportError("in vain: \(what)") }
  }

  /// The calls of an RPC that have come to etcd, in their order.
  func calls<Request, Response>(of rpc: RPC<Request, Response>) -> [ScriptedPeer.Stream] {
    peer.record.streams(of: rpc.traits.path)
  }

  /// The requests of these calls.
  func requests<Request, Response>(of rpc: RPC<Request, Response>) throws -> [Request] {
    try calls(of: rpc).map { try Request(serializedBytes: $0.messages.first ?? []) }
  }

  /// Has etcd close all connections.
  func loseConnections() { peer.close() }
}

/// Runs `body` with a router in front of an etcd that answers only logins, until the test has said what else.
func withRouter(
  _ change: (inout GatewaySettings) -> Void = { _ in }, _ body: (Router, SimulatedEtcd) throws -> Void
) throws {
  let etcd = SimulatedEtcd()
  let router = try Router(etcd, change)
  defer { router.close() }
  try body(router, etcd)
}
