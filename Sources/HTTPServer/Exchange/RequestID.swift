/// The ID of a request on both sides and in logs: the client's own `X-Request-Id` if it is well formed, otherwise one
/// that the gateway makes.
package enum RequestID {
  case given(HeadBytes)
  case made(UInt64)

  /// How long the client's own may be, in bytes.
  static let longest = 128

  /// - Parameters:
  ///   - header: the client's own ID.
  ///   - number: the number from which the gateway makes an ID.
  init(_ header: HeadBytes?, orMadeOf number: @autoclosure () -> UInt64) {
    if let header, Self.isWellFormed(header) { self = .given(header) } else { self = .made(number()) }
  }

  /// Whether it may be written into a header and a log: visible ASCII of limited length.
  static func isWellFormed(_ text: HeadBytes) -> Bool {
    (1...longest).contains(text.count) && text.allSatisfy { $0 > 0x20 && $0 < 0x7F }
  }

  /// The ID as text. One that the gateway has made has 13 characters, which Swift stores without an allocation.
  package var text: String {
    switch self {
    case .given(let bytes): String(decoding: bytes, as: UTF8.self)
    case .made(let number):
      String(unsafeUninitializedCapacity: Self.digitCount) { buffer in
        // Five bits a character, without letters that look like digits.
        let digits: StaticString = "0123456789abcdefghjkmnpqrstvwxyz"
        for index in 0..<Self.digitCount {
          buffer[index] = digits.utf8Start[Int(truncatingIfNeeded: number >> UInt64(60 - index * 5)) & 31]
        }
        return Self.digitCount
      }
    }
  }

  private static var digitCount: Int { 13 }
}
