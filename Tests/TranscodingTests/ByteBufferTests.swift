import Glibc
import TestSupport
import Testing

@testable import Transcoding

@Suite struct ByteBufferTests {
  @Test func keepsWhatIsAppended() {
    var buffer = ByteBuffer()
    #expect(buffer.count == 0)
    var expected: [UInt8] = []
    for count in 0..<300 {
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      buffer.append(bytes)
      bytes.withUnsafeBytes { buffer.append($0) }
      buffer.append(UInt8(7))
      buffer.append("abc")
      buffer.appendZeros(count)
      expected += bytes + bytes + [7] + Array("abc".utf8) + [UInt8](repeating: 0, count: count)
      #expect(buffer.count == expected.count)
    }
    #expect(buffer.withUnsafeBytes { Array($0) } == expected)
    buffer.truncate(to: 10)
    buffer.withUnsafeMutableBytes { $0[0] = 9 }
    #expect(buffer.withUnsafeBytes { Array($0) } == [9] + expected[1..<10])
    buffer.removeAll(keepingCapacity: true)
    #expect(buffer.count == 0)
    buffer.append("x")
    buffer.removeAll()
    buffer.append("y")
    #expect(buffer.withUnsafeBytes { Array($0) } == Array("y".utf8))
  }

  @Test func givesItsMemoryAway() {
    var buffer = ByteBuffer(capacity: 3)
    buffer.append("hello")
    let bytes = buffer.release()
    #expect(Array(bytes) == Array("hello".utf8))
    free(bytes.baseAddress)
    let nothing = ByteBuffer().release()
    #expect(nothing.isEmpty)
    free(nothing.baseAddress)
  }
}

@Suite struct IntegerTextTests {
  @Test func writesWhatTheStandardLibraryWrites() {
    var random = SeededGenerator(seed: 1)
    var values: [UInt64] = [0, .max, 1 << 63, 1 << 63 - 1]
    var power: UInt64 = 1
    for _ in 0..<20 {
      values += [power &- 1, power, power &+ 1]
      power = power &* 10
    }
    for shift in 0..<64 as Range<UInt64> { values += (0..<20).map { _ in random.next() >> shift } }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: IntegerText.maximumCount) { text in
      let start = text.baseAddress!
      for value in values {
        var count = IntegerText.write(value, to: start)
        #expect(String(decoding: text[..<count], as: UTF8.self) == String(value))
        count = IntegerText.write(Int64(bitPattern: value), to: start)
        #expect(String(decoding: text[..<count], as: UTF8.self) == String(Int64(bitPattern: value)))
      }
    }
  }
}

@Suite struct Base64Tests {
  @Test func everyLengthRoundTripsInPlaceToo() {
    var random = SeededGenerator(seed: 2)
    for count in 0..<200 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
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
