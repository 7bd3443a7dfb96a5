import ByteBuffers
import Foundation
import TestSupport

/// Keys of any bytes, and their forms in requests.
enum KeyText {
  private static let hard = Array("%/?#&=+ \"\\.;,*~".utf8) + [0, 0x0a, 0x0d, 0x7f, 0x80, 0xc3, 0xe2, 0xfe, 0xff]

  /// A key with more bytes that are hard to carry than chance would give it.
  static func random(using generator: inout SeededGenerator) -> [UInt8] {
    (0..<Int.random(in: 1...24, using: &generator)).map { _ in
      generator.chance(1, in: 2)
        ? hard.randomElement(using: &generator)! : UInt8.random(in: 0...255, using: &generator)
    }
  }

  /// The key in a path or a query: everything escaped except letters, digits, `-`, `.`, `_` and `~`.
  static func encode(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { $0.isUnreserved ? String(UnicodeScalar($0)) : escape($0) }.joined()
  }

  /// The key in a path, in one of the many ways to write it.
  static func encode(_ bytes: some Sequence<UInt8>, using generator: inout SeededGenerator) -> String {
    bytes.map { byte in
      let mayStand = byte.isUnreserved || "/:@!$&'()*+,;=".utf8.contains(byte)
      if mayStand && generator.chance(3, in: 4) { return String(UnicodeScalar(byte)) }
      return generator.chance(1, in: 2) ? escape(byte) : escape(byte).lowercased()
    }.joined()
  }

  private static func escape(_ byte: UInt8) -> String {
    "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
  }
}

extension JSON {
  /// The bytes that a member stands for, as `/keys` writes them: text, or base64 under another name.
  func bytes(_ name: String) -> [UInt8]? {
    switch (self[name]?.string, self[name + "_base64"]?.string) {
    case (let text?, nil): Array(text.utf8)
    case (nil, let base64?): Data(base64Encoded: base64).map { Array($0) }
    default: nil
    }
  }
}

extension HTTPConnection {
  /// Requests a key.
  func key(
    _ method: String, _ key: some Sequence<UInt8>, _ query: String = "", user: String? = nil,
    headers: [(String, String)] = [], body: [UInt8]? = nil
  ) async throws -> HTTPResponse {
    try await request(method, "/keys/\(KeyText.encode(key))\(query)", headers: headers + basic(user), body: body)
  }

  func key(
    _ method: String, _ key: String, _ query: String = "", user: String? = nil, headers: [(String, String)] = [],
    body: String? = nil
  ) async throws -> HTTPResponse {
    try await self.key(
      method, Array(key.utf8), query, user: user, headers: headers, body: body.map { Array($0.utf8) })
  }

  /// Puts a key and returns its revision.
  @discardableResult
  func put(_ key: String, _ value: String = "", _ query: String = "") async throws -> Int {
    let response = try await self.key("PUT", key, query, body: value)
    guard response.status == 200, let revision = try response.json["revision"]?.number else {
      throw TestSupportError("PUT \(key): \(response)")
    }
    return Int(revision)
  }
}

/// Runs `body` with an etcd, a gateway in front of it, and a connection to that.
func withKeys(
  _ version: EtcdVersion, gateway arguments: [String] = [],
  body: (EtcdProcess, GatewayProcess, HTTPConnection) async throws -> Void
) async throws {
  try await withEtcdAndGateway(version, gateway: arguments) { etcd, gateway in
    try await body(etcd, gateway, try await HTTPConnection.connect(to: gateway.url))
  }
}
