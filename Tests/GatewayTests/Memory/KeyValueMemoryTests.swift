import ByteBuffers
import ProtobufWire
import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServer

/// The bytes that are counted for a key with its value while it comes.
@Suite(.timeLimit(.minutes(15)))
struct KeyValueMemoryTests {
  private static let path = 0x2

  private func take(_ bytes: [UInt8], field: Int, _ fields: inout KeyValueFields) {
    bytes.withUnsafeBytes { fields.take(.bytes(path: Self.path << 4 | field, $0), ofMessageAt: Self.path) }
  }

  @Test func itIsCountedPieceByPiece() throws {
    let account = try MemoryAccount(bytes: 1 << 20)
    var fields = KeyValueFields(account)
    let piece = [UInt8](repeating: 120, count: 16 << 10)
    var used: [Int] = []
    for _ in 0..<4 {
      take(piece, field: 5, &fields)
      used.append(account.used)
    }
    // The bytes that any request may keep are not counted.
    #expect(used == [0, 0, 48 << 10, 64 << 10])
    take(piece, field: 1, &fields)
    #expect(account.used == 80 << 10)
    fields.reset()
    #expect(account.used == 0)
    while !fields.isTooMuch { take(piece, field: 5, &fields) }
    let isEmpty = fields.key.isEmpty && fields.value.isEmpty
    #expect(account.used == 0 && isEmpty)
    // Bytes after that are not taken either.
    take([1], field: 1, &fields)
    let hasNothing = fields.key.isEmpty
    #expect(hasNothing)
  }

  @Test func whoTakesTheValueCountsIt() throws {
    let account = try MemoryAccount(bytes: 1 << 20)
    var fields = KeyValueFields(account)
    take([UInt8](repeating: 120, count: 100_000), field: 5, &fields)
    let before = account.used
    let value = fields.takeValue()
    #expect(before == 100_000 && account.used == 0 && value.count == 100_000)
  }

  /// The JSON of a value may be six times as large as the value.
  @Test func thereHasToBeRoomForTheJSONToo() throws {
    let account = try MemoryAccount(bytes: 1 << 20)
    for (byte, fits) in [(UInt8(ascii: "x"), true), (1, false)] {
      var fields = KeyValueFields(account)
      take([UInt8](repeating: byte, count: 300_000), field: 5, &fields)
      var json = ByteBuffer()
      fields.appendJSON(to: &json)
      #expect(fields.isTooMuch == !fits && json.isEmpty == !fits)
    }
    #expect(account.used == 0)
  }

  @Test func theJSONIsNoLargerThanWasThought() {
    var generator = SeededGenerator(seed: 5)
    let texts = ["a", "\"", "\\", "<", "\u{1}", "\n", "\u{2028}", "é", "😀", "\u{7f}"]
    let parts: [[UInt8]] = texts.map { Array($0.utf8) } + [[0xff]]
    for _ in 0..<2000 {
      let text = (0..<Int.random(in: 0...20, using: &generator)).flatMap { _ in
        parts[Int.random(in: 0..<(generator.chance(1, in: 4) ? parts.count : parts.count - 1), using: &generator)]
      }
      var bytes = ByteBuffer()
      bytes.append(text)
      var json = ByteBuffer()
      KeyValueFields.append(bytes, "", "", to: &json)
      let bound = KeyValueFields.maxJSONCount(of: bytes)
      #expect(json.count <= bound, "\(text)")
    }
  }
}
