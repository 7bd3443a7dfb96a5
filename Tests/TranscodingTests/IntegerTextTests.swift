import TestSupport
import Testing

@testable import Transcoding

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
