import Foundation
import TestSupport
import Testing

/// Whole documents without secrets are compressed if the client accepts gzip; answers of etcd are not.
@Suite(.timeLimit(.minutes(5))) struct GzipTests {
  @Test func documentsComePacked() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for path in ["/openapi.json", "/openapi.yaml", "/openapi-3.0.json", "/"] {
        let plain = try await gateway.http.get(path)
        #expect(plain.status == 200 && plain[header: "Content-Encoding"] == nil, "\(path): \(plain.head)")
        #expect(plain[header: "Vary"] == "Accept-Encoding")
        let packed = try await gateway.http.get(path, headers: [("Accept-Encoding", "br;q=1.0, gzip;q=0.8, *;q=0.1")])
        #expect(packed.status == 200 && packed[header: "Content-Encoding"] == "gzip", "\(path): \(packed.head)")
        #expect(packed[header: "Vary"] == "Accept-Encoding")
        #expect(packed[header: "Content-Type"] == plain[header: "Content-Type"])
        #expect(packed.body.count < plain.body.count / 2)
        if path != "/" {
          // The landing page changes from moment to moment.
          #expect(try await unpacked(packed.body) == plain.body, "\(path)")
        } else {
          #expect(String(decoding: try await unpacked(packed.body), as: UTF8.self).hasSuffix("</html>\n"))
        }
        let refused = try await gateway.http.get(path, headers: [("Accept-Encoding", "identity, gzip;q=0")])
        #expect(refused[header: "Content-Encoding"] == nil && refused[header: "ETag"] == plain[header: "ETag"])
        let head = try await gateway.http.request("HEAD", path, headers: [("Accept-Encoding", "gzip")])
        #expect(head.body.isEmpty && head[header: "Content-Encoding"] == "gzip")
        guard let tag = packed[header: "ETag"] else { continue }
        #expect(tag != plain[header: "ETag"] && head[header: "Content-Length"] == "\(packed.body.count)")
        let same = try await gateway.http.get(path, headers: [("Accept-Encoding", "gzip"), ("If-None-Match", tag)])
        #expect(same.status == 304 && same[header: "ETag"] == tag && same[header: "Vary"] == "Accept-Encoding")
        let other = try await gateway.http.get(path, headers: [("If-None-Match", tag)])
        #expect(other.status == 200 && other.body == plain.body)
      }
    }
  }

  @Test func metricsComePackedToThoseWhoTakeIt() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      // Clients that ask at the same time share a text, each in its coding.
      try await withThrowingTaskGroup(of: (asked: Bool, answer: HTTPResponse).self) { group in
        for index in 0..<6 {
          let asks = index % 2 == 0
          group.addTask {
            (asks, try await gateway.http.get("/metrics", headers: asks ? [("Accept-Encoding", "gzip")] : []))
          }
        }
        for try await (asked, answer) in group {
          #expect(answer.status == 200 && answer[header: "Vary"] == "Accept-Encoding")
          #expect((answer[header: "Content-Encoding"] == "gzip") == asked)
          let text = String(decoding: asked ? try await unpacked(answer.body) : answer.body, as: UTF8.self)
          #expect(text.hasPrefix("# HELP ") && text.contains("\netcd_rest_build_info{"))
        }
      }
    }
  }

  /// Short bodies would not become shorter, and the size of a compressed one reveals secrets in it.
  @Test func nothingElseDoes() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let value = [UInt8](repeating: 0x61, count: 10_000)
      expectStatus(200, try await gateway.http.request("PUT", "/keys/long", body: value))
      for path in ["/keys/long", "/keys?prefix=long", "/health", "/version", "/status", "/nowhere"] {
        let answer = try await gateway.http.get(path, headers: [("Accept-Encoding", "gzip")])
        #expect(answer[header: "Content-Encoding"] == nil, "\(path): \(answer.head)")
      }
    }
  }

  /// - Throws: `TestSupportError` if `gzip` cannot read all of it.
  private func unpacked(_ bytes: [UInt8]) async throws -> [UInt8] {
    try await withTemporaryDirectory { directory in
      let file = "\(directory)/packed.gz"
      try Data(bytes).write(to: URL(fileURLWithPath: file))
      let run = try await CommandRun.run("/bin/sh", ["-c", "gzip --decompress '\(file)'"])
      guard run.exit == .code(0) else { throw TestSupportError("gzip: \(run.errorOutput)") }
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(directory)/packed")))
    }
  }
}
