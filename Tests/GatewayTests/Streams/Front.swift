import Foundation
import TestSupport
import Testing

/// The gateway under test: the one inside etcd shows what a test may require of etcd-rest.
enum Front: CaseIterable {
  case stock
  case ours

  /// Whether a line of a stream may be in several chunks.
  var joinsChunks: Bool { self == .stock }
}

/// Runs `body` with a fresh etcd and the URL of a gateway to it.
func withFront(
  _ front: Front, _ version: EtcdVersion, etcd arguments: [String] = [], gateway gatewayArguments: [String] = [],
  body: (EtcdProcess, String) async throws -> Void
) async throws {
  switch front {
  case .stock:
    try await withEtcd(version, arguments) { etcd in try await body(etcd, etcd.url) }
  case .ours:
    try await withEtcdAndGateway(version, etcd: arguments, gateway: gatewayArguments) { etcd, gateway in
      try await body(etcd, gateway.url)
    }
  }
}

/// How many shards a gateway has in tests that count what it has at etcd: the second shows that the first is not all.
let shardArguments = ["--shards", "2"]
let shards = 2

extension EtcdProcess {
  /// Puts a key and returns the revision.
  @discardableResult
  func put(_ key: String, _ value: String = "1", token: String? = nil) async throws -> Int {
    let answer = try await call(
      "/v3/kv/put", ["key": .string(key.base64), "value": .string(value.base64)], token: token)
    return try #require(answer["header"]?["revision"]?.string.flatMap { Int($0) }, "\(answer)")
  }

  /// Waits until etcd has at most so many watchers.
  func awaitWatchers(_ limit: Int, within time: Duration = suiteLimit) async throws {
    _ = try await eventually("fall to \(limit) watchers", within: time) { try await watchers() <= limit ? true : nil }
  }
}
