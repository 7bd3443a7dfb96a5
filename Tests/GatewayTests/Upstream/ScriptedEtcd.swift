import EtcdSchema
import Foundation
import SwiftProtobuf
import TestSupport
import Testing

/// `:path`s of the calls that scripts answer.
enum RPCPath {
  static let authenticate = EtcdRPC.authenticate.path
  static let range = EtcdRPC.range.path
  static let put = EtcdRPC.put.path
  static let lock = EtcdRPC.lock.path
  static let campaign = EtcdRPC.campaign.path
}

/// Runs `body` with a gateway of one shard in front of a peer that logs every user in and leaves the rest to `script`.
///
/// The n-th login of all gives NAME the token `NAME.n`.
func withScriptedEtcd(
  _ settings: ScriptedPeer.Settings = .init(), gateway arguments: [String] = [],
  script: @escaping ScriptedPeer.Script,
  logIn refusal: @escaping @Sendable (ScriptedPeer.Call, String) -> ScriptedPeer.Answer? = { _, _ in nil },
  body: (ScriptedPeer, GatewayProcess) async throws -> Void
) async throws {
  let peer = try ScriptedPeer(settings: settings) { call in
    call.path == RPCPath.authenticate ? logIn(call, refusal) : script(call)
  }
  try await withGateway([peer.endpoint], ["--shards", "1"] + arguments) { gateway in
    do {
      try await body(peer, gateway)
    } catch {
      // If the gateway has crashed, its log says more than the connections that it lost.
      if let exit = gateway.process.exited {
        let log = gateway.log.split(separator: "\n").prefix { !$0.hasPrefix("*** ") }.suffix(40)
        Issue.record("the gateway ended (\(exit)): \(log.joined(separator: "\n"))")
      }
      throw error
    }
  }
}

private func logIn(
  _ call: ScriptedPeer.Call, _ refusal: (ScriptedPeer.Call, String) -> ScriptedPeer.Answer?
) -> ScriptedPeer.Answer {
  guard let request = try? Etcdserverpb_AuthenticateRequest(serializedBytes: call.message) else {
    return .failure(13, "not an AuthenticateRequest")
  }
  if let answer = refusal(call, request.password) { return answer }
  return .message(Etcdserverpb_AuthenticateResponse.with { $0.token = "\(request.name).\(call.attempt)" })
}

extension ScriptedPeer.Answer {
  /// One message and status OK.
  static func message(_ message: some SwiftProtobuf.Message) -> Self {
    .message(message.wireBytes)
  }

  /// The answer to a put.
  static let put = message(Etcdserverpb_PutResponse.with { $0.header.revision = 7 })
  /// The answer to a range that finds nothing.
  static let range = message(Etcdserverpb_RangeResponse.with { $0.header.revision = 7 })
}

extension SwiftProtobuf.Message {
  /// The message on the wire; the schema has no required fields that could be missing.
  var wireBytes: [UInt8] { (try? serializedBytes()) ?? [] }
}

extension ScriptedPeer.Stream {
  /// The `grpc-timeout` in milliseconds (gRPC over HTTP/2, "Timeout").
  var timeoutMilliseconds: Double? {
    guard let text = headers["grpc-timeout"], let value = Double(text.dropLast()) else { return nil }
    let units: [Character: Double] = ["H": 3_600_000, "M": 60_000, "S": 1000, "m": 1, "u": 0.001, "n": 0.000_001]
    return text.last.flatMap { units[$0] }.map { $0 * value }
  }
}

/// Expects 401 and challenges that browsers, curl and Python know: for a password and a token, or, after a wrong
/// password, for another one (`ChallengeTests` says when).
func expectChallenge(_ response: HTTPResponse, sourceLocation: SourceLocation = #_sourceLocation) {
  expectError(response, 401, sourceLocation: sourceLocation)
  let known = [["Basic realm=\"etcd\"", "Bearer realm=\"etcd\""], ["Basic charset=\"UTF-8\",\trealm=\"etcd\""]]
  #expect(known.contains(challenges(of: response)), "\(response.head)", sourceLocation: sourceLocation)
}
