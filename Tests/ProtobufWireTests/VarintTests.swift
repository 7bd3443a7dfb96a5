import ProtobufWire
import Testing

@Suite struct VarintTests {
  private static let values: [UInt64] = (0..<64).flatMap { [1 << $0, (1 << $0) - 1] } + [.max]

  /// The result of reading `bytes`, and how many of them were used.
  private func read(_ bytes: [UInt8], isCut: Bool = false) throws(WireError) -> (value: UInt64?, count: Int) {
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: bytes.count)
    defer { copy.deallocate() }
    copy.initialize(from: bytes, count: bytes.count)
    var reader = WireReader(copy, copy + bytes.count, isCut: isCut)
    let value = try reader.varint()
    return (value, reader.at - UnsafePointer(copy))
  }

  @Test func whatIsWrittenIsRead() throws {
    for value in Self.values {
      var bytes: [UInt8] = []
      bytes.append(varint: value)
      #expect(bytes.count == Varint.count(of: value))
      #expect(bytes.count <= Varint.maxCount)
      let read = try read(bytes + [0])
      #expect(read.value == value)
      #expect(read.count == bytes.count)
      for count in 1..<bytes.count {
        #expect(throws: WireError.overrun) { try self.read(Array(bytes[..<count])) }
        let part = try self.read(Array(bytes[..<count]), isCut: true)
        #expect(part.value == nil)
      }
    }
  }

  /// Its length in bytes does not matter, as long as the value fits into 64 bits.
  @Test func zerosAtTheEndAreRead() throws {
    let read = try read([0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00])
    #expect(read.value == 1)
    #expect(read.count == 10)
  }

  @Test func moreThan64BitsAreRefused() {
    for last: [UInt8] in [[2], [0x7f], [0x81, 0], [0x80, 0]] {
      let bytes = [UInt8](repeating: 0x80, count: 9) + last
      #expect(throws: WireError.malformedVarint) { try read(bytes) }
      #expect(throws: WireError.malformedVarint) { try read(bytes, isCut: true) }
    }
  }

  @Test func noFieldHasAnotherTag() throws {
    for varint: UInt64 in [0, 7, 8 | 6, 8 | 7, 1 << 32, .max] {
      #expect(throws: WireError.malformedTag) { try WireTag(varint) }
    }
    let tag = try WireTag(0xffff_fff8 | 5)
    #expect(tag.number == 0x1fff_ffff)
    #expect(tag.wireType == .fixed32)
  }
}
