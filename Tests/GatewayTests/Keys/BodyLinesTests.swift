import TestSupport
import Testing

@testable import Gateway

/// The lines of a body that comes in pieces.
struct BodyLinesTests {
  private enum Seen: Equatable {
    case line(String, Int, Int)
    case tooLong(Int, Int)
  }

  /// Takes all complete lines.
  private func take(_ lines: inout BodyLines) -> [Seen] {
    var seen: [Seen] = []
    while true {
      switch lines.take({ Seen.line(String(decoding: $0, as: UTF8.self), $1.number, $1.offset) }) {
      case .line(let line): seen.append(line)
      case .tooLong(let place): seen.append(.tooLong(place.number, place.offset))
      case .nothing: return seen
      }
    }
  }

  /// However the body is cut, its lines are the same.
  @Test func piecesDoNotMatter() {
    var generator = SeededGenerator(seed: 1)
    for _ in 0..<2000 {
      let body = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
        generator.chance(1, in: 6) ? UInt8(ascii: "\n") : UInt8(ascii: "x")
      }
      let limit = Int.random(in: 3...12, using: &generator)
      var expected: [Seen] = []
      var offset = 0
      var parts = body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      if parts.last?.isEmpty == true { parts.removeLast() }
      for (number, part) in zip(1..., parts) {
        expected.append(
          part.count > limit ? .tooLong(number, offset) : .line(String(decoding: part, as: UTF8.self), number, offset))
        offset += part.count + 1
      }
      var lines = BodyLines(limit: limit)
      var seen: [Seen] = []
      var rest = body[...]
      while !rest.isEmpty {
        let piece = Array(rest.prefix(Int.random(in: 1...9, using: &generator)))
        rest = rest.dropFirst(piece.count)
        piece.withUnsafeBytes { lines.append($0) }
        if generator.chance(2, in: 3) { seen += take(&lines) }
        #expect(lines.count <= body.count)
      }
      seen += take(&lines)
      lines.hasEnded = true
      seen += take(&lines)
      #expect(seen == expected, "\(String(decoding: body, as: UTF8.self).debugDescription), at most \(limit)")
      #expect(lines.count == 0 && take(&lines) == [])
    }
  }

  /// Nothing is kept of a line that is too long.
  @Test func aLongLineIsNotKept() {
    var lines = BodyLines(limit: 10)
    [UInt8](repeating: 32, count: 11).withUnsafeBytes { lines.append($0) }
    #expect(take(&lines) == [.tooLong(1, 0)] && lines.count == 0)
    for _ in 0..<10 {
      [UInt8](repeating: 32, count: 1000).withUnsafeBytes { lines.append($0) }
      #expect(take(&lines) == [] && lines.count == 0)
    }
    Array("\nnext\n".utf8).withUnsafeBytes { lines.append($0) }
    #expect(take(&lines) == [.line("next", 2, 10_012)])
  }
}
