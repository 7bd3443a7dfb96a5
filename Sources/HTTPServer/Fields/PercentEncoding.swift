/// Percent-encoded bytes (RFC 3986, section 2.1).
package enum PercentEncoding {
  /// Decodes `text` byte by byte to any bytes; nil if a `%` is not followed by two hexadecimal digits.
  package static func decode(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? { decode(text, isForm: false) }

  /// Decodes a name or value of a query, in which a `+` is a space (URL Standard, section 5.1).
  package static func decode(form text: UnsafeBufferPointer<UInt8>) -> [UInt8]? { decode(text, isForm: true) }

  private static func decode(_ text: UnsafeBufferPointer<UInt8>, isForm: Bool) -> [UInt8]? {
    var isBroken = false
    let bytes = [UInt8](unsafeUninitializedCapacity: text.count) { target, count in
      var index = 0
      while index < text.count {
        var byte = text[index]
        index += 1
        if byte == UInt8(ascii: "%") {
          guard index + 1 < text.count, let high = digit(text[index]), let low = digit(text[index + 1]) else {
            isBroken = true
            return
          }
          byte = high << 4 | low
          index += 2
        } else if isForm && byte == UInt8(ascii: "+") {
          byte = UInt8(ascii: " ")
        }
        target.initializeElement(at: count, to: byte)
        count += 1
      }
    }
    return isBroken ? nil : bytes
  }

  private static func digit(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
