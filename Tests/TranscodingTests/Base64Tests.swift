import ByteBuffers
import TestSupport
import Testing

@testable import Transcoding

@Suite struct Base64Tests {
  @Test func everyLengthRoundTripsInPlaceToo() {
    var random = SeededGenerator(seed: 2)
    for count in 0..<200 {
      let bytes = random.bytes(count)
      var text = [UInt8](repeating: 0, count: Base64.encodedCount(count))
      text.withUnsafeMutableBufferPointer { target in
        bytes.withUnsafeBufferPointer { source in
          guard let to = target.baseAddress, let from = source.baseAddress, count > 0 else { return }
          Base64.encode(from, count, to: to)
        }
      }
      for padding in 0...2 where count > 0 {
        var work = padding == 0 ? Array(text.reversed().drop { $0 == 0x3d }.reversed()) : text
        if padding == 2 { work = work.map { $0 == 0x2b ? 0x2d : $0 == 0x2f ? 0x5f : $0 } }
        work.withUnsafeMutableBufferPointer { work in
          let start = work.baseAddress!
          let shape = Base64.shape(start, work.count)
          #expect(shape?.decoded == count)
          #expect(Base64.decode(start, shape?.characters ?? 0, to: start))
          #expect(Array(work[..<count]) == bytes)
        }
      }
    }
  }

  @Test func everyOtherCharacterIsRefusedAtEveryPlace() {
    let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_".utf8)
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { target in
      for count in [2, 3, 4, 7, 8, 15, 16, 35] {
        for place in 0..<count {
          for character in UInt8.min ... .max {
            var text = [UInt8](repeating: 0x41, count: count)
            text[place] = character
            #expect(Base64.decode(text, count, to: target.baseAddress!) == alphabet.contains(character))
          }
        }
      }
    }
  }
}
