import Testing

@testable import GrpcBridge

/// What gRPC writes into headers.
@Suite struct HeaderTests {
  @Test(
    arguments: [
      ("5S", 5000), ("100m", 100), ("1H", 3_600_000), ("2M", 120_000), ("1500u", 1), ("99999999n", 99), ("1n", 1),
      ("0S", 1), ("99999999H", 99_999_999 * 3_600_000),
    ] as [(String, UInt64)])
  func timeoutsAreRead(text: String, milliseconds: UInt64) {
    #expect(GRPCTimeout(headerValue: text.utf8)?.milliseconds == milliseconds)
  }

  @Test(arguments: ["", "5", "S", "5X", "-5S", "+5S", "1.5S", " 5S", "5 S", "123456789S", "5SS"])
  func whatIsNoTimeoutIsNone(text: String) {
    #expect(GRPCTimeout(headerValue: text.utf8) == nil)
  }

  @Test(
    arguments: [
      (1, "1m"), (30_000, "30000m"), (99_999_999, "99999999m"), (100_000_000, "100000S"), (UInt64.max, "99999999H"),
    ] as [(UInt64, String)])
  func timeoutsAreWrittenInEightDigits(milliseconds: UInt64, text: String) {
    #expect(String(decoding: GRPCTimeout(milliseconds: milliseconds).headerValue, as: UTF8.self) == text)
  }

  @Test(arguments: [
    ("plain", "plain"), ("a%20b", "a b"), ("%E2%82%AC", "€"), ("%e2%82%ac", "€"), ("100%", "100%"), ("%4", "%4"),
    ("%zz", "%zz"), ("%25", "%"), ("%FF", "\u{FFFD}"), ("", ""),
  ])
  func messagesAreDecoded(text: String, message: String) {
    #expect(Array(text.utf8).withUnsafeBufferPointer { percentDecoded($0) } == message)
  }
}
