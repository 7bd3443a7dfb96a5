import ByteBuffers
import EtcdSchema
import Foundation
import ProtobufWire
import SwiftProtobuf
import TestSupport
import Testing

/// Messages that are written by hand.
@Suite struct WireOutputTests {
  @Test func whatIsWrittenIsRead() throws {
    var generator = SeededGenerator(seed: 29)
    for bits in 0...63 {
      let number = Int64(bitPattern: UInt64.random(in: 0...(.max >> UInt64(bits)), using: &generator))
      let bytes = [UInt8](repeating: 5, count: bits * 7)
      var buffer = ByteBuffer()
      buffer.append(field: 1, bytes)
      buffer.append(field: 3, number)
      buffer.append(field: 4, true)
      #expect(buffer.count == ByteBuffer.wireCount(ofField: bytes.count) + ByteBuffer.wireCount(ofNumber: number) + 2)
      let request = try buffer.withUnsafeBytes { try Etcdserverpb_PutRequest(serializedBytes: Array($0)) }
      #expect(request.key == Data(bytes) && request.lease == number && request.prevKv)
    }
  }

  /// Arrays get the same bytes as buffers.
  @Test func whatHoldsTheBytesMakesNoDifference() {
    for number: Int64 in [0, 1, 0x7f, 0x80, 1 << 32, .max, -1, .min] {
      var buffer = ByteBuffer()
      write(number, to: &buffer)
      var array: [UInt8] = []
      write(number, to: &array)
      #expect(buffer.withUnsafeBytes { Array($0) } == array)
    }
  }

  private func write<Output: WireOutput & ~Copyable>(_ number: Int64, to output: inout Output) {
    output.append(field: 1, number)
    output.append(field: 2, zeroOr: number)
    output.append(field: 3, number > 0)
    output.append(field: 4, [1, 2, 3])
    output.append(field: 5, ofCount: [UInt8].wireCount(ofNumber: number))
    output.append(field: 6, number)
  }
}
