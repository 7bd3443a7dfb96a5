import TestSupport
import Testing

/// The JSON of the tests: what a client of the gateway may not accept, they do not accept either.
struct JSONTests {
  @Test(arguments: [
    (" { \"a\" : [ 1 , -0.5e+1, {} , [] ] ,\"b\":null}\r\n\t", ["a": [1, -5, [:], []], "b": nil] as JSON),
    ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\uDE00\u{e9}\"", "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}\u{e9}"),
    ("true", true), ("false", false), ("0", 0), ("18446744073709551616", .number(18446744073709551616)),
  ])
  func whatIsValidIsTaken(_ text: String, _ value: JSON) throws {
    #expect(try JSON(parsing: Array(text.utf8)) == value)
    #expect(try JSON(parsing: Array(value.description.utf8)) == value)
  }

  @Test(arguments: [
    "", " ", "[1,]", "[,]", "[1", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "{\"a\"}", "{a:1}", "{", "nul", "truex", "[1] x",
    "'a'", "01", "1.", ".5", "-", "+1", "1e", "0x1", "NaN", "\"", "\"\\", "\"\\x\"", "\"\u{1}\"", "\"\\u+123\"",
    "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", String(repeating: "[", count: 100_000),
  ])
  func whatIsNotIsRefused(_ text: String) {
    #expect(throws: (any Error).self) { try JSON(parsing: Array(text.utf8)) }
  }

  @Test func textIsUTF8() {
    for bytes in [[0xff], [0xc3], [0xed, 0xa0, 0x80]] as [[UInt8]] {
      #expect(throws: (any Error).self) { try JSON(parsing: [0x22] + bytes + [0x22]) }
    }
  }
}
