import Foundation
import TestSupport
import Testing

/// The page `/docs` as a person uses it: in a real browser, against the gateway that serves it.
@Suite struct DocsPageTests {
  @Test func aPersonLogsInAndTriesThingsOut() async throws {
    try await withGuardedEtcd { gateway in
      try await withTemporaryDirectory { directory in
        try await withBrowser { browser in
          let docs = try await SwaggerPage.open(gateway, in: browser, downloads: directory)
          try await docs.logIn("root", "rootpw")

          let put = try await docs.execute("KV-kvPut", body: #"{"key":"Zm9v","value":"YmFy"}"#)
          #expect(put.status == 200, "\(put)")
          let range = try await docs.execute("KV-kvRange", body: #"{"key":"Zm9v"}"#)
          #expect(range.status == 200)
          #expect(try range.json["kvs"]?[0]?["value"] == "YmFy", "\(range)")

          // A key that needs escapes, and text that is not ASCII.
          let key = ["key": "app/ä %2F?#"]
          let written = try await docs.execute("Keys-putValue", key, body: "größer\n")
          #expect(written.status == 200, "\(written)")
          // The page requests what it shows: text.
          let read = try await docs.execute("Keys-getKey", key)
          #expect(read.status == 200 && read.body == "größer\n", "\(read)")
          let raw = try await gateway.http.get("/keys/app%2F%C3%A4%20%252F%3F%23", user: "root:rootpw")
          #expect(raw.text == "größer\n")
          #expect(try await docs.execute("Keys-deleteKey", key).status == 200)

          try await binaryValue(docs, gateway, in: directory)
          expectQuiet(docs.page, gateway)
          try await expectNothingKept(docs.page)
        }
      }
    }
  }

  /// Bytes are read from a file and come out as a file.
  private func binaryValue(_ docs: SwaggerPage, _ gateway: GatewayProcess, in directory: String) async throws {
    let bytes = (0..<3000).map { UInt8(truncatingIfNeeded: $0 * 7) }
    try Data(bytes).write(to: URL(fileURLWithPath: "\(directory)/value"))
    let written = try await docs.execute("Keys-putValue", ["key": "binary"], file: "\(directory)/value")
    #expect(written.status == 200, "\(written)")
    #expect(try await gateway.http.get("/keys/binary", user: "root:rootpw").body == bytes)

    let read = try await docs.execute("Keys-getKey", ["key": "binary"], accept: "application/octet-stream")
    #expect(read.status == 200 && read.body.contains("Download file"), "\(read)")
    try await docs.page.click("#operations-Keys-getKey .live-responses-table a[download]")
    _ = try await eventually("download") { () -> Bool? in
      for name in try FileManager.default.contentsOfDirectory(atPath: directory) where name != "value" {
        if FileManager.default.contents(atPath: "\(directory)/\(name)").map({ Array($0) }) == bytes { return true }
      }
      return nil
    }
  }

  @Test func aLoginEndsWithThePage() async throws {
    try await withGuardedEtcd { gateway in
      try await withBrowser { browser in
        let docs = try await SwaggerPage.open(gateway, in: browser)
        #expect(try await docs.execute("Auth-userList").status == 401)
        try await docs.logIn("root", "rootpw")
        #expect(try await docs.execute("Auth-userList").status == 200)
        try await docs.logOut()
        #expect(try await docs.execute("Auth-userList").status == 401)
        try await docs.logIn("root", "rootpw")
        #expect(try await docs.execute("Auth-userList").status == 200)
        try await docs.reload(gateway)
        #expect(try await docs.execute("Auth-userList").status == 401)
        try await expectNothingKept(docs.page)
      }
    }
  }

  @Test func aWrongPasswordIsToldAtOnce() async throws {
    try await withGuardedEtcd { gateway in
      try await withBrowser { browser in
        let docs = try await SwaggerPage.open(gateway, in: browser)
        try await docs.enter("root", "wrong")
        try await docs.page.wait(
          "the error", for: "document.querySelector('.modal-ux .errors')?.innerText.includes('authentication failed')")
        let form = "document.querySelector('.modal-ux').innerText"
        #expect(try await docs.page.evaluate("\(form).includes('Logout')") == false)
      }
    }
  }

  @Test func aStreamIsShownAsItComes() async throws {
    try await withGuardedEtcd { gateway in
      try await withBrowser { browser in
        let docs = try await SwaggerPage.open(gateway, in: browser)
        try await docs.logIn("root", "rootpw")
        try await docs.start("Watch-watch", body: #"{"create_request":{"key":"Zm9v"}}"#)
        let shown = "document.querySelector('#operations-Watch-watch .stream pre')?.innerText"
        try await docs.page.wait("the watch", for: "\(shown)?.includes('created')")
        let put = try await gateway.http.request("PUT", "/keys/foo", user: "root:rootpw", body: Array("bar".utf8))
        #expect(put.status == 200)
        try await docs.page.wait("the event", for: "\(shown)?.includes('YmFy')")
        try await docs.page.click("#operations-Watch-watch .stream button")
        let watch = try await docs.answer("Watch-watch")
        #expect(watch.status == 200 && watch.body.contains("YmFy"), "\(watch)")
        #expect(docs.page.complaints == [])
      }
    }
  }

  @Test func bothPagesFitAndFollowTheSystem() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      let operations = try await gateway.http.get("/openapi.json").json["paths"]?.object?.values
        .flatMap { ($0.object ?? [:]).values }.filter { $0["operationId"] != nil }.count
      try await withBrowser { browser in
        for (width, isDark) in [(1280, false), (1280, true), (390, false), (390, true)] {
          let page = try await browser.openPage()
          try await page.show(as: .init(width: width, height: 800, isDark: isDark, isPhone: width < 600))
          try await page.navigate(to: "\(gateway.url)/")
          try await expectFit(page, isDark: isDark)
          try await page.click("nav .first")
          try await page.wait("operations", for: "document.querySelector('.opblock') !== null")
          #expect(try await page.evaluate("location.pathname") == "/docs/")
          #expect(
            try await page.evaluate("document.querySelectorAll('.opblock').length") == .number(Double(operations ?? 0)))
          try await expectFit(page, isDark: isDark)
          expectQuiet(page, gateway)
        }
      }
    }
  }

  // MARK: - Help

  private func withGuardedEtcd(_ body: (GatewayProcess) async throws -> Void) async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await body(gateway)
    }
  }

  /// There is no error, and everything came from the gateway.
  private func expectQuiet(_ page: BrowserPage, _ gateway: GatewayProcess) {
    #expect(page.complaints == [])
    #expect(page.requests.count > 1)
    for request in page.requests {
      let isOwn = ["\(gateway.url)/", "blob:\(gateway.url)/", "data:"].contains { request.url.hasPrefix($0) }
      #expect(isOwn && request.failure == nil, "\(request)")
    }
  }

  /// No password, nor anything else, outlives the page.
  private func expectNothingKept(_ page: BrowserPage) async throws {
    #expect(try await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""])
    #expect(try await page.evaluate("indexedDB.databases().then((all) => all.length)") == 0)
  }

  /// Nothing is wider than the page, and text is light on dark or dark on light as the system is set.
  private func expectFit(_ page: BrowserPage, isDark: Bool) async throws {
    #expect(try await page.evaluate("document.documentElement.scrollWidth - innerWidth").number ?? 1 <= 0)
    let brightness = """
      ((e) => getComputedStyle(e).color.match(/[0-9.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3)\
      (document.querySelector("h1, h2"))
      """
    let text = try #require(try await page.evaluate(brightness).number)
    #expect(isDark ? text > 160 : text < 96, "\(text)")
  }
}
