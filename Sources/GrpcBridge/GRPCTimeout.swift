/// A time limit as gRPC sends it (gRPC over HTTP/2, "Timeout": at most eight digits and a unit).
package struct GRPCTimeout: Sendable, Equatable {
  package let milliseconds: UInt64
  /// The value of the `grpc-timeout` header.
  let headerValue: [UInt8]

  package init(milliseconds: UInt64) {
    self.milliseconds = milliseconds
    let most: UInt64 = 99_999_999
    headerValue =
      if milliseconds <= most {
        Array("\(milliseconds)m".utf8)
      } else if milliseconds / 1000 <= most {
        Array("\(milliseconds / 1000)S".utf8)
      } else {
        Array("\(min(milliseconds / 3_600_000, most))H".utf8)
      }
  }

  /// Reads a `grpc-timeout` value; nil if it is malformed. Less than a millisecond counts as one.
  package init?(headerValue text: some Collection<UInt8>) {
    guard (2...9).contains(text.count), let digits = UInt64(String(decoding: text.dropLast(), as: UTF8.self)),
      text.dropLast().allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    let milliseconds: UInt64
    switch text[text.index(text.startIndex, offsetBy: text.count - 1)] {
    case UInt8(ascii: "H"): milliseconds = digits * 3_600_000
    case UInt8(ascii: "M"): milliseconds = digits * 60_000
    case UInt8(ascii: "S"): milliseconds = digits * 1000
    case UInt8(ascii: "m"): milliseconds = digits
    case UInt8(ascii: "u"): milliseconds = digits / 1000
    case UInt8(ascii: "n"): milliseconds = digits / 1_000_000
    default: return nil
    }
    self.init(milliseconds: max(milliseconds, 1))
  }
}
