import ByteBuffers
import Glibc
import ProtobufWire
import Testing

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
