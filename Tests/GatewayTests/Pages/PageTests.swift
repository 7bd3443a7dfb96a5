import Foundation
import TestSupport
import Testing

/// The pages as files: their content, their heads, and that nothing else is served beside them.
@Suite struct PageTests {
  private static let files = [
    ("/docs/", "text/html; charset=utf-8"), ("/docs/docs.css", "text/css; charset=utf-8"),
    ("/docs/docs.js", "text/javascript; charset=utf-8"), ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
  ]

  @Test func theLandingPageSaysWhatThisIsAndHowItIs() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      let page = try await gateway.http.get("/")
      #expect(page.status == 200)
      #expect(page[header: "Content-Type"] == "text/html; charset=utf-8")
      #expect(page[header: "X-Content-Type-Options"] == "nosniff")
      #expect(page[header: "Cache-Control"] == "no-store")
      let policy = try #require(page[header: "Content-Security-Policy"])
      #expect(policy.hasPrefix("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "\(policy)")
      #expect(policy.contains("frame-ancestors 'none'"))
      #expect(page.text.contains("\(etcd.version)") && page.text.contains("class=\"good\""), "\(page)")
      for link in ["docs/", "openapi.json", "openapi.yaml", "health", "version"] {
        #expect(page.text.contains("href=\"\(link)\""))
        #expect(try await gateway.http.get("/\(link)").status == 200, "\(link)")
      }
      let head = try await gateway.http.request("HEAD", "/")
      #expect(head.status == 200 && head.body.isEmpty && head[header: "Content-Type"] == page[header: "Content-Type"])
      let post = try await gateway.http.post("/")
      expectError(post, 405, code: 12, "POST /")
      #expect(post[header: "Allow"] == "GET, HEAD, OPTIONS")

      await etcd.kill()
      let sick = try await gateway.http.get("/")
      #expect(sick.status == 200 && sick.text.contains("class=\"bad\""), "\(sick)")
    }
  }

  @Test func theLinesOfTheLandingPageWork() async throws {
    try await withEtcdAndGateway(.v3_5) { etcd, gateway in
      // A user is required only if etcd requires one; the terminal asks for the password.
      #expect(try await gateway.http.get("/").text.contains("<code>curl -X PUT"))
      try await etcd.enableAuth(rootPassword: "rootpw")
      let lines = try await examples(gateway)
      #expect(lines.count == 3)
      let run = lines.map { $0.replacing("curl -u root ", with: "curl -sk -m 60 -u root:rootpw ") }
      #expect(run.allSatisfy { $0.contains(":rootpw") && $0.contains(gateway.url) }, "\(lines)")
      #expect(try await shell(run[0]).contains("\"revision\":"))
      #expect(try await shell(run[1]) == "hello")
    }
  }

  @Test func aHostIsNeitherMarkupNorCode() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      func page(askedFor host: String) async throws -> HTTPResponse {
        let connection = try await HTTPConnection.connect(to: gateway.url)
        try await connection.send("GET / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
        let page = try await connection.receive()
        // At most one script, of the gateway's own.
        #expect(page.text.components(separatedBy: "<script").count <= 2, "\(page)")
        return page
      }
      for host in [#"a"><script>alert(1)</script>"#, "$(touch /tmp/x)'`id`", "<\u{338}script>", "a b", "a|b", "ä"] {
        #expect(try await page(askedFor: host).status == 400, "\(host)")
      }
      // Valid names (RFC 3986, section 3.2.2) with characters that are special to a shell.
      for host in ["$(id)", "a'b", "a;b&c", "!*$a,b=(c)", "%60id%60", "[::1]:8379"] {
        let page = try await page(askedFor: host)
        #expect(page.status == 200, "\(host)")
        let address = try #require(try lines(of: page).first?.split(separator: " ").dropFirst(5).joined(separator: " "))
        // For a shell it is one word, equal to what was sent.
        #expect(try await shell("printf '<%s>' \(address)") == "<\(scheme(gateway))://\(host)/keys/greeting>")
      }
    }
  }

  @Test func theFilesOfThePage() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for (path, type) in Self.files {
        let plain = try await gateway.http.get(path)
        #expect(plain.status == 200 && plain[header: "Content-Type"] == type, "\(path): \(plain.head)")
        #expect(plain[header: "X-Content-Type-Options"] == "nosniff")
        #expect(plain[header: "Cache-Control"] == "no-cache" && plain[header: "Vary"] == "Accept-Encoding")
        let policy = plain[header: "Content-Security-Policy"] ?? ""
        #expect(policy.hasPrefix("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"))
        #expect(!policy.contains("unsafe"), "\(policy)")

        let packed = try await gateway.http.get(path, headers: [("Accept-Encoding", "br, gzip;q=0.5")])
        #expect(packed[header: "Content-Encoding"] == "gzip" && packed.body.count < plain.body.count)
        #expect(packed.body.starts(with: [0x1f, 0x8b]))
        let refused = try await gateway.http.get(path, headers: [("Accept-Encoding", "gzip;q=0.0, identity")])
        #expect(refused[header: "Content-Encoding"] == nil && refused.body == plain.body)
        #expect(plain[header: "ETag"] != packed[header: "ETag"])

        for (response, accepted) in [(plain, "identity"), (packed, "gzip")] {
          let tag = try #require(response[header: "ETag"])
          for condition in [tag, "W/\(tag)", "\"x\", \(tag)", "*"] {
            let same = try await gateway.http.get(
              path, headers: [("If-None-Match", condition), ("Accept-Encoding", accepted)])
            #expect(same.status == 304 && same.body.isEmpty && same[header: "ETag"] == tag, "\(condition)")
          }
          #expect(try await gateway.http.get(path, headers: [("If-None-Match", "\"x\"")]).status == 200)
        }
        let head = try await gateway.http.request("HEAD", path)
        #expect(head.status == 200 && head.body.isEmpty)
        #expect(head[header: "Content-Length"] == "\(plain.body.count)")
      }
      let folder = try await gateway.http.get("/docs")
      #expect(folder.status == 308 && folder[header: "Location"] == "docs/")
    }
  }

  @Test func nothingElseOfTheFolderIsServed() async throws {
    try await withEtcdAndGateway(.v3_5) { _, gateway in
      for path in [
        "/docs/.stamp", "/docs/LICENSE", "/docs/index.html", "/docs/docs.js.gz", "/docs//docs.js", "/docs/./docs.js",
        "/docs/../docs/docs.js", "/docs/%2e%2e/docs/docs.js", "/docs/..%2f..%2f..%2fetc/passwd",
        "/docs/../../../../etc/passwd", "/docs/docs.js%00.css", "/docs/docs%2ejs", "/docs/docs.js/",
      ] {
        expectError(try await gateway.http.get(path), 404, code: 5, path)
      }
    }
  }

  @Test func switchedOff() async throws {
    try await withEtcdAndGateway(.v3_5, gateway: ["--docs", "off"]) { _, gateway in
      for path in Self.files.map(\.0) + ["/docs"] {
        expectError(try await gateway.http.get(path), 404, code: 5, path)
      }
      let page = try await gateway.http.get("/")
      #expect(page.status == 200 && !page.text.contains("docs/"))
      #expect(try await gateway.http.get("/openapi.json").status == 200)
    }
  }

  @Test func anotherFolder() async throws {
    try await withTemporaryDirectory { directory in
      for file in ["index.html", "docs.css", "docs.js", "swagger-ui.css", "swagger-ui-bundle.js"] {
        try Data("<\(file)>".utf8).write(to: URL(fileURLWithPath: "\(directory)/\(file)"))
      }
      var tag = ""
      try await withEtcdAndGateway(.v3_5, gateway: ["--docs", directory]) { _, gateway in
        let first = try await gateway.http.get("/docs/docs.js", headers: [("Accept-Encoding", "gzip")])
        #expect(first.text == "<docs.js>" && first[header: "Content-Encoding"] == nil)
        tag = try #require(first[header: "ETag"])
        // The gateway keeps the files that it has read.
        try Data("<new.js>".utf8).write(to: URL(fileURLWithPath: "\(directory)/docs.js"))
        #expect(try await gateway.http.get("/docs/docs.js").text == "<docs.js>")
      }
      // The next gateway has the files that are there then, which are others.
      try await withEtcdAndGateway(.v3_5, gateway: ["--docs", directory]) { _, gateway in
        let next = try await gateway.http.get("/docs/docs.js", headers: [("If-None-Match", tag)])
        #expect(next.text == "<new.js>")
      }
      try FileManager.default.removeItem(atPath: "\(directory)/docs.js")
      let refused = try await runGateway(["serve", "--listen", "127.0.0.1:0", "--docs", directory])
      #expect(refused.exit == .code(64), "\(refused)")
      #expect(refused.errorOutput.contains("\(directory)/docs.js"), "\(refused)")
    }
  }

  // MARK: - Help

  private func scheme(_ gateway: GatewayProcess) -> String { gateway.url.hasPrefix("https") ? "https" : "http" }

  private func examples(_ gateway: GatewayProcess) async throws -> [String] {
    try lines(of: try await gateway.http.get("/"))
  }

  /// The examples on the landing page, as a browser would show them.
  private func lines(of page: HTTPResponse) throws -> [String] {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    return page.text.components(separatedBy: "<code>").dropFirst().map { part in
      entities.reduce(part.components(separatedBy: "</code>")[0]) {
        // Literally: an accent may follow.
        $0.replacingOccurrences(of: $1.0, with: $1.1, options: .literal)
      }
    }
  }

  /// The output of a command line.
  private func shell(_ line: String) async throws -> String {
    try await withTemporaryDirectory { directory in
      let process = try await ChildProcess.start(
        "/bin/sh", ["-c", line], output: "\(directory)/output", error: "\(directory)/error")
      _ = try await process.exit()
      return process.output
    }
  }
}
