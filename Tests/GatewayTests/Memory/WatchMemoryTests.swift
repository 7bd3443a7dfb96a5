import EtcdSchema
import Foundation
import TestSupport
import Testing

/// The memory of a watch's messages that a member can make the gateway keep.
@Suite(.timeLimit(.minutes(15)))
struct WatchMemoryTests {
  private static let megabyte = 1 << 20
  /// More than the whole budget.
  private static let large = frame(1, revision: 8, bytes: 64 << 20)
  private static let gateway = ["--max-memory", "16M", "--shards", "1"]

  private static func frame(_ id: Int64, revision: Int64, bytes: Int) -> [UInt8] {
    let response = Etcdserverpb_WatchResponse.with {
      $0.header.revision = revision
      $0.watchID = id
      $0.events = [
        .with {
          $0.kv.key = .init("a".utf8)
          $0.kv.modRevision = revision
          $0.kv.value = .init(repeating: 120, count: bytes)
        }
      ]
    }
    return grpcFrame(response.wireBytes)
  }

  private static func created(_ id: Int64) -> [UInt8] {
    let response = Etcdserverpb_WatchResponse.with {
      $0.header.revision = 7
      $0.watchID = id
      $0.created = true
    }
    return grpcFrame(response.wireBytes)
  }

  /// The key with which a stream begins.
  private static func key(_ call: ScriptedPeer.Call) -> String {
    let request = try? Etcdserverpb_WatchRequest(serializedBytes: call.message)
    return String(decoding: request?.createRequest.key ?? Data(), as: UTF8.self)
  }

  private static func creation(_ key: String) -> String { #"{"create_request":{"key":"\#(key.base64)"}}"# }

  /// It is requested again a few times, as there may be room later; then its clients get an error.
  @Test func aMessageThatNeverFitsEndsItsWatch() async throws {
    let script: ScriptedPeer.Script = { call in
      call.path == EtcdRPC.watch.path ? [.headers(.grpcResponse), .data(Self.created(1)), .data(Self.large)] : .range
    }
    try await withScriptedEtcd(gateway: Self.gateway, script: script) { peer, gateway in
      let before = gateway.process.peakResidentBytes
      let lines = try await JSONStream.open(gateway.url, "/v3/watch", Self.creation("a"))
      #expect(try await lines.next()?["created"] == true)
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.sendRequest("GET", "/keys/a?wait=10m&since=7")
      let error = try await #require(throws: (any Error).self) { while try await lines.next() != nil {} }
      #expect("\(error)".contains("--max-memory"), "\(error)")
      expectError(try await connection.receive(), 503, code: 14)
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 40 * Self.megabyte, "\(grown)")
      expectStatus(200, try await gateway.http.post("/v3/kv/range", "{}"))
      #expect((2...20).contains(peer.record.streams(of: EtcdRPC.watch.path).count))
    }
  }

  /// The watch resumes from its position, and others of the user do not wait.
  @Test func aMessageThatDoesNotFitEndsNobodysWatch() async throws {
    let gate = ScriptedPeer.Gate()
    let script: ScriptedPeer.Script = { call in
      guard call.path == EtcdRPC.watch.path else { return .range }
      if call.attempt == 1 {
        return [
          .headers(.grpcResponse), .data(Self.created(1)), .wait(gate), .data(Self.created(2)),
          .data(Self.frame(2, revision: 8, bytes: 64 << 20)),
        ]
      }
      let revision: Int64 = Self.key(call) == "large" ? 8 : 9
      return [.headers(.grpcResponse), .data(Self.created(1)), .data(Self.frame(1, revision: revision, bytes: 10))]
    }
    try await withScriptedEtcd(gateway: Self.gateway, script: script) { peer, gateway in
      let before = gateway.process.peakResidentBytes
      let small = try await JSONStream.open(gateway.url, "/v3/watch", Self.creation("small"))
      #expect(try await small.next()?["created"] == true)
      async let opening = JSONStream.open(gateway.url, "/v3/watch", Self.creation("large"))
      _ = try await peer.wait(for: "the second watch") {
        ($0.streams(of: EtcdRPC.watch.path).first?.messages.count ?? 0) > 1
      }
      gate.open()
      let large = try await opening
      #expect(try await large.next()?["created"] == true)
      for (lines, revision) in [(small, "9"), (large, "8")] {
        let news = try await lines.next()
        #expect(news?["events"]?[0]?["kv"]?["mod_revision"]?.string == revision, "\(news ?? .null)")
      }
      let grown = gateway.process.peakResidentBytes - before
      #expect(grown < 40 * Self.megabyte, "\(grown)")
    }
  }
}
