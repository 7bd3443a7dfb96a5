import Testing

@testable import Gateway

/// The numbers that flags, parameters and headers accept.
@Suite struct ArgumentTests {
  @Test(
    arguments: [
      ("5", 5000), ("5s", 5000), ("500ms", 500), ("1.5s", 1500), ("0.5m", 30_000), ("1h", 3_600_000), ("0", 0),
      ("007s", 7000), ("1.0005s", 1000),
    ] as [(String, UInt64)])
  func aTimeIsDigitsAndAUnit(_ text: String, _ milliseconds: UInt64) {
    #expect(TimeSpan(argument: text)?.milliseconds == milliseconds)
  }

  @Test(arguments: [
    "", "s", ".", ".s", "0x5", "0x1s", "+5", "+5s", "-5s", "-0", "1e3", "1E3s", "1e3ms", "1.2.3s", "inf", "infinity",
    "nan", "nan s", " 5s", "5 s", "5s ", "0x1p4", "1_000", "٥s", "5sm", "1h30m", "999999999999999999h",
    String(repeating: "9", count: 400),
  ])
  func whatElseNumbersMayLookLikeIsNoTime(_ text: String) { #expect(TimeSpan(argument: text) == nil) }

  @Test func examplesOfATimeAreTaken() {
    #expect(TimeSpan.description(of: 1000...600_000) == "a time such as 30s or 5m, from 1s to 600s")
    #expect(TimeSpan.description(of: 1000...3_600_000) == "a time such as 30s, 5m or 1h, from 1s to 3600s")
  }

  @Test func aNumberMayHaveAnExponentAsInJSON() {
    #expect(Double(decimal: "1.5E2", mayHaveExponent: true) == 150)
    #expect(Double(decimal: "5e-1", mayHaveExponent: true) == 0.5)
    for text in ["", "+5", "-5", "0x5", "e5", "nan", "inf", "5e", "5-", "1e+-5", " 5"] {
      #expect(Double(decimal: text, mayHaveExponent: true) == nil, "\(text)")
    }
  }

  @Test(arguments: ["+5", "-5", "+5M", " 5", "5 M", "0x5", "", "K"])
  func whatElseNumbersMayLookLikeIsNoSize(_ text: String) { #expect(ByteCount(argument: text) == nil) }
}
