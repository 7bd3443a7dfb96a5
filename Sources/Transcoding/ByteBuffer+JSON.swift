import ByteBuffers
import ProtobufWire

/// Parts of JSON documents, for code that writes them by hand.
extension ByteBuffer {
  /// Appends an integer as decimal digits.
  package mutating func append(decimal value: Int64) {
    commit(IntegerText.write(value, to: reserve(IntegerText.maximumCount)))
  }

  /// Appends UTF-8 bytes as a JSON string: in quotes, and escaped like the strings of a document.
  package mutating func appendJSONString(_ bytes: UnsafeRawBufferPointer) {
    append(UInt8(ascii: "\""))
    if let base = bytes.baseAddress {
      let start = base.assumingMemoryBound(to: UInt8.self)
      _ = JSONWriter.text(start, start + bytes.count, isEnd: true, to: &self)
    }
    append(UInt8(ascii: "\""))
  }

  /// Appends bytes in base64, in quotes.
  package mutating func appendJSONBase64(_ bytes: UnsafeRawBufferPointer) {
    append(UInt8(ascii: "\""))
    if let base = bytes.baseAddress {
      let count = Base64.encodedCount(bytes.count)
      Base64.encode(base.assumingMemoryBound(to: UInt8.self), bytes.count, to: reserve(count))
      commit(count)
    }
    append(UInt8(ascii: "\""))
  }
}
