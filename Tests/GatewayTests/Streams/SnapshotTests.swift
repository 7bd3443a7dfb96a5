import EtcdSchema
import Foundation
import TestSupport
import Testing

/// `GET /snapshot`: the database as a file.
@Suite(.timeLimit(.minutes(15)), .repeatedAfterPauses(of: .seconds(2)))
struct SnapshotTests {
  @Test(arguments: EtcdVersion.allCases)
  func theFileIsWhatEtcdctlTakes(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { etcd, gateway in
      let value = String(repeating: "v", count: 100_000).base64
      for index in 0..<20 {
        let put: JSON = ["key": .string("key\(index)".base64), "value": .string(value)]
        #expect(try await gateway.http.post("/v3/kv/put", put).status == 200)
      }
      let response = try await gateway.http.get("/snapshot")
      #expect(response.status == 200)
      #expect(response[header: "Content-Type"] == "application/octet-stream")
      #expect(response[header: "Content-Length"] == "\(response.body.count)")
      let disposition = response[header: "Content-Disposition"] ?? ""
      #expect(disposition.hasPrefix("attachment; filename=\"etcd-") && disposition.hasSuffix(".db\""))
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/snapshot.db"
        try Data(response.body).write(to: URL(fileURLWithPath: path))
        let status = try await etcd.etcdctl("snapshot", "status", path, "--write-out", "json")
        let json = try JSON(parsing: Array(status.utf8))
        #expect(json["totalKey"] != nil, "\(status)")
        #expect(json["totalSize"]?.number.map { Int($0) } == response.body.count - 32, "\(status)")
      }
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func theStreamHasTheSameBytesLineByLine(_ version: EtcdVersion) async throws {
    try await withEtcdAndGateway(version) { _, gateway in
      // etcd may write between the two and use another page: then both are requested again.
      let (bytes, file) = try await eventually("snapshots without a page more in between") {
        let before = try await gateway.http.get("/snapshot").body.count
        let stream = try await JSONStream.open(gateway.url, "/v3/maintenance/snapshot", "{}")
        var bytes = 0
        while let part = try await stream.next() {
          bytes += part["blob"]?.string.flatMap { Data(base64Encoded: $0) }?.count ?? 0
        }
        let after = try await gateway.http.get("/snapshot").body.count
        return before == after ? (bytes, after) : nil
      }
      #expect(bytes == file)
      #expect(bytes % 512 == 32)
    }
  }

  @Test func slowReadersCostNoMemory() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--shards", "1"]) { _, gateway in
      let value = String(repeating: "v", count: 1_000_000).base64
      for index in 0..<40 {
        let put: JSON = ["key": .string("key\(index)".base64), "value": .string(value)]
        #expect(try await gateway.http.post("/v3/kv/put", put).status == 200)
      }
      let before = gateway.process.residentBytes
      var files: [HTTPConnection] = []
      for _ in 0..<4 {
        let file = try await HTTPConnection.connect(to: gateway.url)
        await file.setReceiveBuffer(bytes: 65_536)
        try await file.sendRequest("GET", "/snapshot")
        #expect(try await file.receiveHead().status == 200)
        files.append(file)
      }
      // Others are served meanwhile.
      for _ in 0..<50 { #expect(try await gateway.http.post("/v3/kv/range", ["key": "YQ=="]).status == 200) }
      let used = gateway.process.residentBytes - before
      #expect(used < 24 << 20, "\(used) bytes for 4 clients that do not read 40 MB")
      let first = try #require(files.first)
      var count = 0
      while let part = try await first.receivePart() { count += part.count }
      #expect(count > 40_000_000 && count % 512 == 32)
    }
  }

  // MARK: - Failures

  private static let pages = [UInt8](repeating: 5, count: 4096)

  /// SHA-256 of `pages`.
  private static let digest: [UInt8] = stride(from: 0, to: 64, by: 2).map { index in
    let hex = Array("fb7363f1f02c2f244c32aa8076ef7edbc2e621137542836adc1e312143968d75".utf8)
    return UInt8(String(decoding: hex[index..<index + 2], as: UTF8.self), radix: 16)!
  }

  private static func part(_ blob: some Sequence<UInt8>, remaining: Int) -> [UInt8] {
    Etcdserverpb_SnapshotResponse.with {
      $0.blob = Data(blob)
      $0.remainingBytes = UInt64(remaining)
    }.wireBytes
  }

  /// How etcd counts the remaining bytes: without the digest, as it does, or with it.
  @Test(arguments: [0, 32])
  func theLengthIsTrueHoweverEtcdCounts(_ counted: Int) async throws {
    let script: ScriptedPeer.Script = { _ in
      .messages([
        Self.part(Self.pages[..<1000], remaining: 3096 + counted), Self.part(Self.pages[1000...], remaining: counted),
        Self.part(Self.digest[..<7], remaining: 0), Self.part(Self.digest[7...], remaining: 0),
      ])
    }
    try await withScriptedEtcd(script: script) { _, gateway in
      let response = try await gateway.http.get("/snapshot")
      #expect(response[header: "Content-Length"] == "4128")
      #expect(response.body == Self.pages + Self.digest)
    }
  }

  enum Fault: CaseIterable {
    case wrongDigest, noDigest, wrongByte, tooLong, muchTooLong, error, reset
  }

  @Test(arguments: Fault.allCases)
  func aBrokenSnapshotIsCut(_ fault: Fault) async throws {
    var pages = Self.pages
    if fault == .wrongByte { pages[17] = 6 }
    let start = Self.part(pages, remaining: 0)
    let answer: ScriptedPeer.Answer =
      switch fault {
      case .wrongDigest: .messages([start, Self.part(Self.digest.reversed(), remaining: 0)])
      case .noDigest: .messages([start])
      case .wrongByte: .messages([start, Self.part(Self.digest, remaining: 0)])
      case .tooLong: .messages([start, Self.part(Self.digest + [0], remaining: 0)])
      // As many bytes before the last 32 as the whole file was to have.
      case .muchTooLong: .messages([start, Self.part(Self.digest + Self.digest, remaining: 0)])
      case .error: .messages([start], status: 14, text: "gone")
      case .reset:
        .init([.headers(.grpcResponse), .data(grpcFrame(start)), .barrier, .reset(code: HTTP2Error.internalError)])
      }
    try await withScriptedEtcd(script: { _ in answer }) { _, gateway in
      try await expectCut { try await gateway.http.get("/snapshot", headers: [("X-Request-Id", "mine")]) }
      try await gateway.expectLogged("a snapshot was cut: ")
      #expect(gateway.log.contains(" request_id=mine\n"), "\(gateway.log)")
    }
  }

  @Test func anErrorBeforeTheFirstByteIsJSON() async throws {
    try await withScriptedEtcd(script: { _ in .failure(7, "etcdserver: permission denied") }) { _, gateway in
      expectError(try await gateway.http.get("/snapshot"), 403, code: 7, message: "etcdserver: permission denied")
      let wrong = try await gateway.http.post("/snapshot", "{}")
      expectError(wrong, 405)
      #expect(wrong[header: "Allow"] == "GET, HEAD, OPTIONS")
    }
  }

  @Test func aClientThatLeavesEndsTheCall() async throws {
    let start = ScriptedPeer.Answer([.headers(.grpcResponse), .data(grpcFrame(Self.part(Self.pages, remaining: 9000)))])
    try await withScriptedEtcd(script: { _ in start }) { peer, gateway in
      let connection = try await HTTPConnection.connect(to: gateway.url)
      try await connection.sendRequest("GET", "/snapshot")
      #expect(try await connection.receiveHead()["Content-Length"] == "13128")
      await connection.close()
      try await peer.wait(for: "the end of the call") { $0.streams.contains { $0.reset != nil } }
    }
  }
}
