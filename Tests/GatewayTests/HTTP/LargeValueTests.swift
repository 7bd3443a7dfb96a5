import Foundation
import TestSupport
import Testing

/// Values as large as etcd accepts them, and larger ones, with default flags.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct LargeValueTests {
  /// PHP, Lua's cjson and others write a slash as `\/`, in base64, too.
  @Test(arguments: EtcdVersion.allCases)
  func aValueWhoseSlashesAreEscapedIsTaken(_ version: EtcdVersion) async throws {
    var generator = SeededGenerator(seed: 7)
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+".utf8)
    let base64 = (0..<1_560_000 / 3 * 4).map { _ in
      generator.chance(1, in: 3) ? UInt8(ascii: "/") : digits.randomElement(using: &generator) ?? 0
    }
    let value = try #require(Data(base64Encoded: Data(base64)))
    #expect(value.count == 1_560_000)
    let escaped = String(decoding: base64, as: UTF8.self).replacing("/", with: #"\/"#)
    try await withEtcdAndGateway(version) { _, gateway in
      let response = try await gateway.http.post("/v3/kv/put", #"{"key":"YQ==","value":"\#(escaped)"}"#)
      expectStatus(200, response)
      let read = try await gateway.http.get("/keys/a")
      #expect(read.status == 200 && read.body == Array(value))
    }
  }

  struct Request: Sendable, CustomTestStringConvertible {
    let method: String
    let path: String
    let size: Int
    /// gRPC's code: etcd's own if etcd refuses the request.
    var code = 8
    var testDescription: String { "\(method) \(path) of \(size) bytes" }

    /// A request whose only fault is its size.
    var body: [UInt8] {
      guard method == "POST" else { return [UInt8](repeating: 120, count: size) }
      let start = #"{"key":"YQ==","value":""#
      return Array((start + String(repeating: "A", count: (size - start.count - 2) / 4 * 4) + "\"}").utf8)
    }
  }

  private static let tooLarge = [
    Request(method: "PUT", path: "/keys/x", size: 1_600_000), Request(method: "PUT", path: "/keys/x", size: 3_000_000),
    Request(method: "POST", path: "/v3/kv/put", size: 2_200_000, code: 3),
    Request(method: "POST", path: "/v3/kv/put", size: 3_000_000),
    Request(method: "POST", path: "/v3/kv/put", size: 8_000_000),
  ]

  /// The answer reaches clients that send everything before they read, whether the gateway or etcd refuses the size.
  @Test(arguments: EtcdVersion.allCases, tooLarge)
  func whatIsTooLargeIsToldSo(_ version: EtcdVersion, _ request: Request) async throws {
    try await withEtcdAndGateway(version) { _, gateway in
      let body = request.body
      for isInOnePiece in [true, false] {
        for _ in 0..<5 {
          let connection = try await HTTPConnection.connect(to: gateway.url)
          if isInOnePiece {
            try await connection.sendRequest(request.method, request.path, body: body)
          } else {
            // As many libraries do: the head first, then the body.
            try await connection.sendRequest(
              request.method, request.path, headers: [("Content-Length", "\(body.count)")])
            try await connection.send(body)
          }
          expectError(try await connection.receive(), 413, code: request.code, request.testDescription)
          await connection.close()
        }
      }
      #expect(try await gateway.http.get("/keys/x").status == 404)
      #expect(try await gateway.http.get("/keys/a").status == 404)
    }
  }
}
