import Foundation
import TestSupport
import Testing

/// The gateway after very many requests is as it was after many.
@Suite(.timeLimit(.minutes(15)))
struct EnduranceTests {
  private static let connections = 8
  private static let pipelined = 50

  @Test func memoryAndDescriptorsStayWhereTheyWere() async throws {
    try await withAuth(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      try await gateway.expectNothingLeft(spare: 2 << 20, plainURL: gateway.url) { try await serve(30_000, gateway) }
    }
  }

  /// Clients that disconnect in the midst of a call leave nothing behind either.
  @Test func brokenConnectionsLeaveNothingBehind() async throws {
    try await withScriptedEtcd(script: { _ in .hang }) { peer, gateway in
      let request = "POST /v3/lock/lock HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
      try await gateway.expectNothingLeft(spare: 2 << 20, plainURL: gateway.url) {
        for _ in 0..<20 {
          let clients = try await withThrowingTaskGroup(of: HTTPConnection.self) { group in
            for _ in 0..<50 {
              group.addTask {
                let connection = try await HTTPConnection.connect(to: gateway.url)
                try await connection.send(request)
                return connection
              }
            }
            return try await group.reduce(into: []) { $0.append($1) }
          }
          for (index, client) in clients.enumerated() {
            if index % 2 == 0 { await client.close() } else { await client.reset() }
          }
        }
        // Some disconnected before their call was sent; the calls that were sent have been reset.
        try await peer.wait(for: "the end of all streams") { record in
          record.streams.allSatisfy { $0.closed != nil }
        }
      }
    }
  }

  /// Sends requests of several kinds, each connection a batch at a time.
  private func serve(_ count: Int, _ gateway: GatewayProcess) async throws {
    let kinds = [
      request("POST", "/v3/kv/range", #"{"key":"YQ=="}"#, status: 200),
      request("POST", "/v3/kv/range", #"{"key":"YQ==","range_end":"Yg=="}"#, status: 200),
      request("POST", "/v3/kv/range", #"{"key":7}"#, status: 400),
      request("POST", "/v3/lease/timetolive", #"{"ID":"1"}"#, status: 200),
      request("GET", "/nowhere", "", status: 404),
    ]
    let batch = (0..<Self.pipelined).map { kinds[$0 % kinds.count] }
    let bytes = batch.flatMap(\.bytes)
    try await withThrowingTaskGroup { group in
      for _ in 0..<Self.connections {
        group.addTask {
          let connection = try await HTTPConnection.connect(to: gateway.url)
          for _ in 0..<count / Self.connections / Self.pipelined {
            try await connection.send(bytes)
            for request in batch {
              let response = try await connection.receive()
              if response.status != request.status { expectStatus(request.status, response) }
            }
          }
          await connection.close()
        }
      }
      try await group.waitForAll()
    }
  }

  private func request(_ method: String, _ path: String, _ body: String, status: Int) -> (bytes: [UInt8], status: Int) {
    let head =
      "\(method) \(path) HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \("ann:annpw".base64)\r\n"
      + (method == "POST" ? "Content-Length: \(body.utf8.count)\r\n" : "")
    return (Array("\(head)\r\n\(body)".utf8), status)
  }
}
