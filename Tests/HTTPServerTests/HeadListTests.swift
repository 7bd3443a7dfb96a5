import Testing

@testable import HTTPServer

/// Lists in header fields, with quoted text in them (RFC 9110, section 5.6).
@Suite struct HeadListTests {
  private func elements(_ text: String) -> [String] { text.utf8.listElements.map { String(Substring($0)) } }

  @Test func aCommaInQuotedTextPartsNothing() {
    #expect(elements("a, b ,,c,") == ["a", "b", "c"])
    #expect(elements(#"a="x,y", b"#) == [#"a="x,y""#, "b"])
    #expect(elements(#"a="x\",y", b"#) == [#"a="x\",y""#, "b"])
    #expect(elements(#"a="x, b"#) == [#"a="x, b"#])
    #expect(elements("").isEmpty && elements(" , ").isEmpty)
    // In an entity tag a backslash is an ordinary character.
    #expect(#""a\", "b,c""#.utf8.tagElements.map { String(Substring($0)) } == [#""a\""#, #""b,c""#])
  }

  @Test func aWeightInQuotedTextIsNone() {
    func name(_ text: String) -> String? { text.utf8.acceptedName.map { String(Substring($0)) } }
    #expect(name(#"text/html;x=";q=0""#) == "text/html")
    #expect(name("text/html; q=0.5") == "text/html" && name("text/html; q=0") == nil)
  }

  private func withBytes<Result>(_ text: String, _ body: (HeadBytes) throws -> Result) rethrows -> Result {
    try Array(text.utf8).withUnsafeBufferPointer(body)
  }

  @Test func tagsMayHaveCommas() throws {
    let matches = try withBytes(#""a,b", W/"42""#) { try TagCondition([$0], "If-None-Match")?.matchesWeakly(42) }
    #expect(matches == true)
  }

  @Test func preferencesMayHaveQuotedText() {
    let texts = [
      #"return=minimal;foo="bar, handling=strict""#, #"x="\", handling=strict""#, "handling=strict",
      #"x="a, b", Handling="strict";y"#,
    ]
    #expect(texts.map { withBytes($0, Preference.isStrict) } == [false, false, true, true])
  }

  @Test func aLengthThatIsTooLargeIsANumber() {
    func fault(_ length: String) -> String? {
      withBytes("GET / HTTP/1.1") { line in
        var check = HeadCheck(
          method: HeadBytes(rebasing: line[..<3]), target: HeadBytes(rebasing: line[4..<5]),
          version: HeadBytes(rebasing: line[6...]), lineEnds: nil)
        withBytes("Content-Length") { name in withBytes(length) { check.take(name: name, value: $0) } }
        return check.fault
      }
    }
    #expect(fault("18446744073709551617") == "Content-Length is too large")
    #expect(fault("1x") == "Content-Length is not a number of bytes" && fault("17") == nil)
  }
}
