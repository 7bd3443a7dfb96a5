import Foundation
import TestSupport
import Testing

/// Programs in a browser, which only have fetch() (Fetch Standard): on a page of the gateway's own origin, and on one
/// of another that `--cors` lists.
@Suite struct FetchTests {
  /// What a program in TypeScript would have as its client.
  private static let client = #"""
    globalThis.etcd = (base) => {
      const headers = { Authorization: "Basic " + btoa("root:rootpw") };
      const call = async (method, path, body, more = {}) => {
        const response = await fetch(base + path, { method, body, headers: { ...headers, ...more } });
        return response;
      };
      return {
        call,
        put: async (key, value, more) => {
          const response = await call("PUT", "/keys/" + encodeURIComponent(key), value, more);
          return { status: response.status, tag: response.headers.get("ETag"), ...(await response.json()) };
        },
        get: async (key) => {
          const response = await call("GET", "/keys/" + encodeURIComponent(key));
          return { status: response.status, tag: response.headers.get("ETag"),
            revision: response.headers.get("X-Etcd-Revision"), bytes: [...new Uint8Array(await response.arrayBuffer())] };
        },
        // The values of a stream of lines, until there are as many.
        lines: async function* (response) {
          const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
          let rest = "";
          for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            const parts = (rest + value).split("\n");
            rest = parts.pop();
            for (const part of parts) if (part) yield JSON.parse(part);
          }
        },
      };
    };
    """#

  @Test func ofTheSameOrigin() async throws {
    try await withGuardedGateway([]) { gateway in
      try await withBrowser { browser in
        let page = try await browser.openPage()
        // Its policy allows it.
        try await page.navigate(to: "\(gateway.url)/docs/")
        try await useFetch(page, base: "")
      }
    }
  }

  @Test func ofAListedOrigin() async throws {
    try await withPageServer { origin in
      try await withGuardedGateway(["--cors", origin]) { gateway in
        try await withBrowser { browser in
          let page = try await browser.openPage()
          try await page.navigate(to: "\(origin)/")
          try await useFetch(page, base: gateway.url)
        }
      }
    }
  }

  @Test func ofAnotherOriginNothingIsReadNorWritten() async throws {
    try await withPageServer { origin in
      try await withGuardedGateway(["--cors", "https://elsewhere.example"]) { gateway in
        try await withBrowser { browser in
          let page = try await browser.openPage()
          try await page.navigate(to: "\(origin)/")
          try await page.evaluate(Self.client)
          for call in ["put('a', 'b')", "get('a')"] {
            await #expect(throws: TestSupportError.self) {
              try await page.evaluate("etcd(\(JSON.string(gateway.url))).\(call)")
            }
          }
          #expect(try await gateway.http.get("/keys/a", user: "root:rootpw").status == 404)
        }
      }
    }
  }

  private func useFetch(_ page: BrowserPage, base: String) async throws {
    try await page.evaluate(Self.client)
    try await page.evaluate("globalThis.client = etcd(\(JSON.string(base)))")

    let put = try await page.evaluate("client.put('a/\u{e4} \u{1F600}', new Uint8Array([0, 255, 10, 128]))")
    #expect(put["status"] == 200, "\(put)")
    let revision = try #require(put["revision"]?.number)
    let got = try await page.evaluate("client.get('a/\u{e4} \u{1F600}')")
    #expect(got["bytes"] == [0, 255, 10, 128], "\(got)")
    #expect(got["tag"] == .string("\"\(Int(revision))\"") && got["revision"]?.string != nil, "\(got)")

    // A swap that succeeds, and one that does not.
    let tag = try #require(got["tag"]?.string)
    let swap = "client.put('a/\u{e4} \u{1F600}', 'new', { 'If-Match': \(JSON.string(tag)) })"
    #expect(try await page.evaluate(swap)["status"] == 200)
    #expect(page.complaints == [])
    let lost = try await page.evaluate(swap)
    #expect(lost["status"] == 412 && lost["tag"]?.string != nil && lost["tag"] != got["tag"], "\(lost)")
    #expect(page.complaints.count == 1 && page.complaints[0].contains("412"), "\(page.complaints)")

    // A stream is read as it comes: a key written after its first line is on it.
    let events = try await page.evaluate(
      """
      (async () => {
        const watch = { create_request: { key: btoa("w") } };
        const response = await client.call("POST", "/v3/watch", JSON.stringify(watch));
        const seen = [];
        for await (const { result } of client.lines(response)) {
          if (result.created) for (const value of ["1", "2", "3"]) await client.put("w", value);
          for (const event of result.events ?? []) seen.push(atob(event.kv.value));
          if (seen.length === 3) return seen;
        }
      })()
      """)
    #expect(events == ["1", "2", "3"])
  }

  private func withGuardedGateway(
    _ arguments: [String], _ body: (GatewayProcess) async throws -> Void
  ) async throws {
    try await withEtcdAndGateway(.v3_5, gateway: arguments) { etcd, gateway in
      try await etcd.enableAuth(rootPassword: "rootpw")
      try await body(gateway)
    }
  }

  /// Runs `body` with the origin of a server that only has an empty page.
  private func withPageServer(_ body: (_ origin: String) async throws -> Void) async throws {
    try await withTemporaryDirectory { directory in
      let pages = "\(directory)/pages"
      try FileManager.default.createDirectory(atPath: pages, withIntermediateDirectories: true)
      let page = "<!DOCTYPE html><title>elsewhere</title><link rel=icon href=data:,>"
      try Data(page.utf8).write(to: URL(fileURLWithPath: "\(pages)/index.html"))
      let server = try await ChildProcess.start(
        "/usr/bin/python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", pages],
        output: "\(directory)/output", error: "\(directory)/error")
      do {
        let port = try await eventually("port of the page's server") {
          server.output.firstMatch(of: #/port ([0-9]+) /#).map { String($0.1) }
        }
        try await body("http://127.0.0.1:\(port)")
      } catch {
        await server.killAndWait()
        throw error
      }
      await server.killAndWait()
    }
  }
}
