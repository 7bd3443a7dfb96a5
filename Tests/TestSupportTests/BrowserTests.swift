import TestSupport
import Testing

/// The browser that tests drive notices what a page does wrong: otherwise a page without faults would prove nothing.
@Suite struct BrowserTests {
  @Test func seesWhatAPageDoesAndComplainsAbout() async throws {
    try await withBrowser { browser in
      let page = try await browser.openPage()
      try await page.navigate(
        to: """
          data:text/html,<meta http-equiv="Content-Security-Policy" content="img-src 'none'">\
          <input><button disabled>press</button><p></p>
          """)
      #expect(page.complaints == [])
      try await page.evaluate(
        """
        document.querySelector("button").onclick = () => {
          document.querySelector("p").innerText = document.querySelector("input").value };
        setTimeout(() => document.querySelector("button").disabled = false)
        """)
      try await page.type("first", into: "input")
      try await page.type("second \u{1F600}", into: "input")
      try await page.click("button")
      #expect(try await page.text().contains("second \u{1F600}"))
      #expect(try await page.evaluate("new Promise((kept) => setTimeout(() => kept([1, null]), 10))") == [1, nil])
      #expect(page.complaints == [])

      try await page.evaluate("console.error('a', 1), console.log('nothing'), console.warn('b')")
      try await page.evaluate("void setTimeout(() => { throw new Error('c') })")
      try await page.evaluate("document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:1/d' }))")
      await #expect(throws: TestSupportError.self) { try await page.evaluate("nobody.knows") }
      await #expect(throws: TestSupportError.self) { try await page.evaluate("fetch('http://elsewhere.example/')") }
      let marks = ["console.error: a", "console.warning: b", "uncaught: Error: c", "Content Security Policy"]
      for mark in marks {
        _ = try await eventually("complaint with \(mark)") {
          page.complaints.contains { $0.contains(mark) } ? true : nil
        }
      }
      _ = try await eventually("failed request") {
        page.requests.first { $0.url == "http://elsewhere.example/" }?.failure
      }
    }
  }

  @Test func pagesShareNothing() async throws {
    try await withBrowser { browser in
      for look in [
        BrowserPage.Look(width: 800, height: 600), .init(width: 390, height: 700, isDark: true, isPhone: true),
      ] {
        let page = try await browser.openPage()
        try await page.show(as: look)
        #expect(try await page.evaluate("screen.width") == .number(Double(look.width)))
        #expect(
          try await page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == .bool(look.isDark))
        // The signature of PNG (its specification, section 5.2).
        #expect(try await page.screenshot().starts(with: [0x89, 0x50, 0x4e, 0x47]))
      }
      await #expect(throws: TestSupportError.self) {
        try await browser.openPage().navigate(to: "http://127.0.0.1:1/")
      }
    }
  }
}
