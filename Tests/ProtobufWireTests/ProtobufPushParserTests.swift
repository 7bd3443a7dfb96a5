import EtcdSchema
import Foundation
import ProtobufWire
import SwiftProtobuf
import TestSupport
import Testing

/// Messages that are parsed as they come.
@Suite struct ProtobufPushParserTests {
  // Not kept: a leak checker does not see what a long `Data` in a global refers to.
  private static var response: Etcdserverpb_RangeResponse {
    .with {
      $0.header.revision = 1 << 40
      $0.header.clusterID = .max
      $0.kvs = (0..<3).map { index in
        .with {
          $0.key = Data([0, UInt8(index)])
          $0.value = Data(repeating: 9, count: index * 200)
          $0.modRevision = Int64(index) - 1
          $0.lease = .max
        }
      }
      $0.more = true
      $0.count = 300
    }
  }

  /// The events of a message that comes in pieces of `size` bytes.
  private func events(_ message: [UInt8], pieces size: Int) throws -> [String] {
    var events = ProtobufPushParser(length: message.count, messages: [0x1, 0x2])
    var heard: [String] = []
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: message.count, by: size) {
      message[start..<min(start + size, message.count)].withUnsafeBytes { piece in
        var input = piece
        while let event = events.next(&input) {
          switch event {
          case .number(let path, let value): heard.append("\(String(path, radix: 16))=\(Int64(bitPattern: value))")
          case .begin(let path, let length, let rest): heard.append("\(String(path, radix: 16))(\(length), \(rest))")
          case .bytes(_, let piece): bytes += piece
          case .end(let path):
            heard.append("\(String(path, radix: 16)).\(bytes.count)")
            bytes = []
          }
        }
      }
    }
    try events.finish()
    return heard
  }

  @Test(arguments: [1, 2, 3, 7, 100, 10_000])
  func nothingDependsOnThePieces(_ size: Int) throws {
    let message: [UInt8] = try Self.response.serializedBytes()
    let lease = Int64.max
    #expect(
      try events(message, pieces: size) == [
        "11=-1", "13=1099511627776", "1.0",
        "21(2, 21)", "21.2", "23=-1", "26=\(lease)", "2.0",
        "21(2, 213)", "21.2", "25(200, 10)", "25.200", "26=\(lease)", "2.0",
        "21(2, 415)", "21.2", "23=1", "25(400, 10)", "25.400", "26=\(lease)", "2.0",
        "3=1", "4=300",
      ])
  }

  @Test func whatIsNotKnownIsPassedOver() throws {
    // Fields 16 (bytes) and 17 (number), fixed 64 and 32 bits, then field 4.
    let message: [UInt8] =
      [0x82, 0x01, 0x03, 1, 2, 3, 0x88, 0x01, 0x05, 0x29] + [UInt8](repeating: 1, count: 8) + [
        0x35, 1, 2, 3, 4, 0x20, 9,
      ]
    for size in [1, 4, 100] {
      // A number beyond 15 has no path.
      #expect(try events(message, pieces: size).filter { !$0.hasPrefix("0") } == ["4=9"])
    }
  }

  @Test func whatIsNoMessageIsSaidSo() throws {
    let message: [UInt8] = try Self.response.serializedBytes()
    for count in 0..<message.count {
      // The same message without its announced end.
      var events = ProtobufPushParser(length: message.count, messages: [0x1, 0x2])
      message[..<count].withUnsafeBytes { piece in
        var input = piece
        while events.next(&input) != nil {}
      }
      #expect(throws: WireError.self) { try events.finish() }
    }
    let broken: [[UInt8]] = [
      [0x12, 0x05, 1], [0x00], [0x07], [0x0b], [0x0c, 0], [0x0a, 0x02, 0x12, 0x05],
      [0x20] + [UInt8](repeating: 0xff, count: 10),
      [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], [0x25, 1, 2], [0x0a, 0x01, 0x18],
    ]
    for message in broken {
      for size in [1, 100] {
        #expect(throws: WireError.self, "\(message)") { try events(message, pieces: size) }
      }
    }
  }

  @Test func randomBytesNeverTrap() {
    var generator = SeededGenerator(seed: 23)
    let message: [UInt8] = (try? Self.response.serializedBytes()) ?? []
    for _ in 0..<5000 {
      var bytes = message
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      _ = try? events(bytes, pieces: Int.random(in: 1...300, using: &generator))
    }
  }
}
