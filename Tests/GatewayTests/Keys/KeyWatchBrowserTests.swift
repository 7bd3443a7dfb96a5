import TestSupport
import Testing

/// Server-Sent Events as a real browser takes them.
@Suite(.timeLimit(.minutes(15)))
struct KeyWatchBrowserTests {
  /// The gateway is restarted in the middle of events, and etcd, and both at once: the page only has an `EventSource`,
  /// and sees all changes in order.
  @Test(arguments: EtcdVersion.allCases)
  func aPageMissesNothingAndRepeatsNothing(_ version: EtcdVersion) async throws {
    try await withEtcd(version) { etcd in
      try await withBrowser { browser in
        let port = try LoopbackPort.pick(1)[0]
        let (url, arguments) = ("http://127.0.0.1:\(port)", ["--shards", "1", "--listen", "127.0.0.1:\(port)"])
        let page = try await browser.openPage()
        try await Transactions.write(to: etcd) { writer in
          try await withGateway([etcd.url], arguments) { _ in
            try await page.navigate(to: url + "/livez")
            try await page.evaluate(Self.script)
            try await writer.awaitMore(30)
            try await Self.awaitMore(page)
            try await etcd.restart()
            try await Self.awaitMore(page)
          }
          try await writer.awaitMore(30)
          try await withGateway([etcd.url], arguments) { _ in try await Self.awaitMore(page) }
          await etcd.kill()
          // There is no etcd behind the gateway when the page reconnects.
          try await withGateway([etcd.url], arguments) { _ in
            try await page.wait("word that etcd is away", for: "state.refusals > 0")
            try await etcd.start()
            try await Self.awaitMore(page)
          }
        }
        try await withGateway([etcd.url], arguments) { gateway in
          try await page.wait("the last change", for: "state.seen.at(-1)?.startsWith('w/last@')")
          let seen = try await page.evaluate("state.seen").array?.compactMap(\.string) ?? []
          let written = try await Transactions.written(gateway.url)
          let differences = zip(seen, written).enumerated().filter { $1.0 != $1.1 }.prefix(5)
          #expect(seen == written, "\(seen.count) of \(written.count); \(Array(differences))")
          let opened = try await page.evaluate("state.opened").number ?? 0
          #expect(opened >= 4, "opened \(opened) times")
        }
      }
    }
  }

  /// Records events, and how often the connection was made; an event named `error` comes from the server.
  private static let script = """
    globalThis.state = { seen: [], opened: 0, refusals: 0 };
    const source = new EventSource("/keys?prefix=w/&watch=true&since=1");
    for (const type of ["put", "delete"]) {
      source.addEventListener(type, ({ data }) => {
        const change = JSON.parse(data);
        state.seen.push(`${change.key}@${change.mod_revision}`);
      });
    }
    source.onopen = () => { state.opened += 1; };
    source.onerror = ({ data }) => {
      if (data && JSON.parse(data).error.message !== "the gateway is stopping") state.refusals += 1;
    };
    null
    """

  /// Waits until the page has seen more.
  private static func awaitMore(_ page: BrowserPage) async throws {
    let seen = try await page.evaluate("state.seen.length").number ?? 0
    try await page.wait("more changes", for: "state.seen.length > \(Int(seen) + 30)")
  }
}
