import EtcdSchema
import Foundation
import ProtobufWire
import SwiftProtobuf
import TestSupport
import Testing

/// Messages that are whole in memory.
@Suite struct ProtobufPullParserTests {
  /// A field, as both readers report it.
  private struct Field: Equatable {
    let number: Int
    var value: UInt64 = 0
    var content: [UInt8]?
  }

  private func pulled(_ message: [UInt8]) -> [Field]? {
    message.withUnsafeBytes { bytes in
      var parser = ProtobufPullParser(bytes, in: 0..<bytes.count)
      var fields: [Field] = []
      var end = 0
      do {
        while let field = try parser.next() {
          #expect(field.whole.lowerBound == end)
          end = field.whole.upperBound
          guard field.number <= 15 else { continue }
          switch field.wireType {
          case .varint: fields.append(Field(number: field.number, value: field.value))
          case .lengthDelimited: fields.append(Field(number: field.number, content: Array(bytes[field.content])))
          default: break
          }
        }
      } catch {
        return nil
      }
      #expect(end == bytes.count)
      return fields
    }
  }

  private func pushed(_ message: [UInt8], pieces size: Int) -> [Field]? {
    var parser = ProtobufPushParser(length: message.count, messages: [])
    var fields: [Field] = []
    for start in stride(from: 0, to: message.count, by: size) {
      message[start..<min(start + size, message.count)].withUnsafeBytes { piece in
        var input = piece
        while let event = parser.next(&input) {
          switch event {
          case .number(0, _): break
          case .number(let path, let value): fields.append(Field(number: path, value: value))
          case .begin(let path, _, _): fields.append(Field(number: path, content: []))
          case .bytes(_, let bytes): fields[fields.count - 1].content?.append(contentsOf: bytes)
          case .end: break
          }
        }
      }
    }
    return (try? parser.finish()).map { fields }
  }

  @Test func itTellsWhatThePushReaderTells() throws {
    let response: [UInt8] = try Etcdserverpb_RangeResponse.with {
      $0.header.revision = 1 << 40
      $0.kvs = [.with { $0.key = Data([1, 2, 3]) }, .with { $0.value = Data(repeating: 7, count: 200) }]
      $0.more = true
      $0.count = -1
    }.serializedBytes()
    // Fields 16 and 17, and fixed ones, are skipped by one reader and reported by the other.
    let message =
      response + [0x82, 0x01, 0x03, 1, 2, 3, 0x88, 0x01, 0x05, 0x35, 1, 2, 3, 4, 0x29]
      + [UInt8](repeating: 1, count: 8)
    let fields = try #require(pulled(message))
    #expect(fields.map(\.number) == [1, 2, 2, 3, 4])
    var generator = SeededGenerator(seed: 31)
    for round in 0..<20_000 {
      var bytes = message
      for _ in 0..<round % 4 {
        bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      if round % 7 == 6 { bytes.removeLast(Int.random(in: 1...30, using: &generator)) }
      let pulled = pulled(bytes)
      let size = Int.random(in: 1...40, using: &generator)
      #expect(pulled == pushed(bytes, pieces: size), "\(bytes) in pieces of \(size)")
    }
  }

  private func fault(of message: [UInt8]) -> WireError? {
    message.withUnsafeBytes { bytes in
      var parser = ProtobufPullParser(bytes, in: 0..<bytes.count)
      do throws(WireError) {
        while try parser.next() != nil {}
        return nil
      } catch {
        return error
      }
    }
  }

  @Test func whatIsNoMessageIsSaidSo() {
    let broken: [([UInt8], WireError)] = [
      ([0x0a, 0x05, 1], .overrun), ([0x0a], .overrun), ([0x08], .overrun), ([0x0d, 1, 2, 3], .overrun),
      ([0x09, 1, 2, 3, 4, 5, 6, 7], .overrun), ([0x80], .overrun), ([0x00, 0], .malformedTag),
      ([0x0b], .malformedTag), ([0x0c], .malformedTag), ([0x0f], .malformedTag),
      ([0x08] + [UInt8](repeating: 0xff, count: 9) + [2], .malformedVarint),
      ([0x0a] + [UInt8](repeating: 0xff, count: 9) + [1], .overrun),
    ]
    for (message, fault) in broken {
      #expect(self.fault(of: message) == fault, "\(message)")
    }
  }

  @Test func nothingIsReadBeyondTheRange() throws {
    let message: [UInt8] = [0x08, 1, 0x10, 2, 0x18, 3]
    try message.withUnsafeBytes { bytes in
      var parser = ProtobufPullParser(bytes, in: 2..<4)
      let field = try #require(try parser.next())
      #expect(field.number == 2 && field.value == 2 && field.whole == 2..<4)
      let end = try parser.next()
      #expect(end == nil)
    }
  }
}
