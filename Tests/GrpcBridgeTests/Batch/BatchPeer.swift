import EtcdSchema
import SwiftProtobuf
import TestSupport
import Testing

@testable import GrpcBridge

/// Acts as an etcd that has every key, with a value of its own, at revision 7.
enum BatchPeer {
  static let range = EtcdRPC.range.method
  static let txn = EtcdRPC.txn.path
  static let status = EtcdRPC.status.path
  static let watch = EtcdRPC.watch.path
  static let login = EtcdRPC.authenticate.path

  static func request(_ key: String, _ change: (inout Etcdserverpb_RangeRequest) -> Void = { _ in }) -> [UInt8] {
    wire(
      Etcdserverpb_RangeRequest.with {
        $0.key = .init(key.utf8)
        change(&$0)
      })
  }

  static func wire(_ message: some Message) -> [UInt8] { (try? message.serializedBytes()) ?? [] }

  /// The answer to a range alone.
  static func response(to request: Etcdserverpb_RangeRequest, valueBytes: Int = 1) -> Etcdserverpb_RangeResponse {
    .with {
      $0.header = header
      $0.header.revision = 7
      if !request.key.starts(with: "missing".utf8) {
        $0.kvs = [
          .with {
            $0.key = request.key
            $0.value = .init(repeating: 120, count: request.keysOnly ? 0 : valueBytes)
          }
        ]
        $0.count = 1
      }
    }
  }

  private static let header = Etcdserverpb_ResponseHeader.with {
    $0.clusterID = .max
    $0.memberID = 1 << 63
    $0.raftTerm = 3
  }

  static func transaction(_ message: [UInt8], valueBytes: Int = 1) -> Etcdserverpb_TxnResponse {
    let request = (try? Etcdserverpb_TxnRequest(serializedBytes: message)) ?? .init()
    return .with {
      $0.header = header
      $0.header.revision = 9
      $0.succeeded = true
      $0.responses = request.success.map { operation in
        .with {
          $0.responseRange = response(to: operation.requestRange, valueBytes: valueBytes)
          $0.responseRange.header = .with { $0.revision = 7 }
        }
      }
    }
  }

  /// The answer of an etcd.
  static func answer(_ call: ScriptedPeer.Call, version: String = "3.5.30", valueBytes: Int = 1) -> ScriptedPeer.Answer
  {
    switch call.path {
    case status: return .message(wire(Etcdserverpb_StatusResponse.with { $0.version = version }))
    case txn: return .message(wire(transaction(call.message, valueBytes: valueBytes)))
    case watch: return [.headers(.grpcResponse), .data(grpcFrame([0x18, 1]))]
    case login:
      return .message(wire(Etcdserverpb_AuthenticateResponse.with { $0.token = "token.\(call.attempt)" }))
    default:
      let request = (try? Etcdserverpb_RangeRequest(serializedBytes: call.message)) ?? .init()
      return .message(wire(response(to: request, valueBytes: valueBytes)))
    }
  }

  /// The expected answer to the read `message`.
  static func expected(_ message: [UInt8], valueBytes: Int = 1) -> [UInt8] {
    wire(response(to: (try? .init(serializedBytes: message)) ?? .init(), valueBytes: valueBytes))
  }
}

extension Bridge.Configuration {
  /// A configuration with batches.
  static func batching(_ most: Int = 64) -> Self {
    var configuration = Self()
    configuration.maxBatch = most
    return configuration
  }
}

extension BridgeFixture {
  /// Makes reads until some have shared a batch: the first ones are alone, as the member is asked for its version.
  func warmUp(for user: User = .nobody) async throws {
    let before = await run { $0.batchCounts.batches }
    _ = try await eventually("reads that travel together") {
      let calls = await startTogether(
        BatchPeer.range, [BatchPeer.request("warm"), BatchPeer.request("warmer")], for: user)
      for call in calls { try await call.expectEnd(.ok) }
      return await run { $0.batchCounts.batches } > before ? true : nil
    }
  }

  /// Expects that each of the reads is answered as it would have been alone.
  func expectAnswers(
    _ calls: [RecordedCall], _ messages: [[UInt8]], valueBytes: Int = 1,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    for (call, message) in zip(calls, messages) {
      try await call.expectEnd(.ok, sourceLocation: sourceLocation)
      #expect(
        call.messages == [BatchPeer.expected(message, valueBytes: valueBytes)], sourceLocation: sourceLocation)
    }
  }
}
