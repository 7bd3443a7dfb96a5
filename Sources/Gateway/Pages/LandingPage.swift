import HTTPServer

/// The page at `/`, for people: what this is, how it is and was, and where to read more.
struct LandingPage {
  /// The address of the request, as `http://HOST:PORT`.
  let address: String
  let report: StatusReport
  /// Whether to show the numbers of metrics, too.
  let tellsAll: Bool
  /// Whether etcd requires a user.
  let needsUser: Bool
  /// Whether there is a page `/docs`.
  let hasDocs: Bool
  /// Whether it is shown at an address that serves only metrics and probes.
  let isAdmin: Bool

  func response() -> HTTPResponse {
    var response = HTTPResponse(status: 200, contentType: "text/html; charset=utf-8", text: html)
    response.headers = Self.headers
    response.mayBePacked = true
    return response
  }

  private static let headers =
    PagePolicy.headers(allowing: PagePolicy.style(style, script: script)) + [("Cache-Control", "no-store")]

  private var html: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>etcd-rest</title>
    <link rel="icon" href="\(Self.icon)">
    <style>\(Self.style)</style>
    </head>
    <body>
    <main>
    <header>
    <h1>etcd-rest</h1>
    <p>An HTTP and JSON gateway for <a href="https://etcd.io">etcd</a>: keys as plain resources, the whole v3 API, \
    watches as streams.</p>
    </header>
    <dl>
    <div><dt>Gateway</dt><dd>\(EtcdRest.version)</dd></div>
    <div><dt>etcd</dt><dd>\(etcdVersion.isEmpty ? "version unknown" : etcdVersion.htmlEscaped)</dd></div>
    <div><dt>Health</dt><dd class="\(report.complaint == nil ? "good" : "bad")">\
    \((report.complaint ?? "healthy").htmlEscaped)</dd></div>
    </dl>
    <nav>
    \(links)
    </nav>
    \(tellsAll ? membersSection + activitySection : "")\
    \(isAdmin ? "" : examplesSection)\
    </main>
    <script>\(Self.script)</script>
    </body>
    </html>

    """
  }

  private var etcdVersion: String { report.etcdVersion }

  private var links: String {
    let served = isAdmin ? ["metrics"] : ["openapi.json", "openapi.yaml", "version"]
    let all = served + ["health"] + (tellsAll ? ["status"] : [])
    let docs = hasDocs && !isAdmin ? "<a class=\"first\" href=\"docs/\">Browse and try the API</a>\n" : ""
    return docs + all.map { "<a href=\"\($0)\">\($0)</a>" }.joined(separator: "\n")
  }

  private var examplesSection: String {
    """
    <section>
    <h2>Say hello</h2>
    \(examples.map { "<p>\($0.what)</p>\n<pre><code>\($0.command.htmlEscaped)</code></pre>" }.joined(separator: "\n"))
    </section>

    """
  }

  private var membersSection: String {
    guard !report.members.isEmpty else { return "" }
    let rows = report.members.map { member in
      let role = member.isLeader ? "leader" : member.isLearner ? "learner" : member.id.isEmpty ? "" : "follower"
      let connection = member.connection ?? "none"
      let name = member.name.isEmpty ? member.id : member.name
      return """
        <tr><td>\(name.htmlEscaped)</td><td>\(member.endpoints.joined(separator: " ").htmlEscaped)</td>\
        <td>\(role)</td><td class="\(connection == "ready" ? "good" : "faint")">\(connection.htmlEscaped)</td></tr>
        """
    }
    return """
      <section>
      <h2>Members of etcd</h2>
      <table>
      <tr><th>name</th><th>endpoint</th><th>role</th><th>connection</th></tr>
      \(rows.joined(separator: "\n"))
      </table>
      </section>

      """
  }

  private var activitySection: String {
    guard let now = report.now else { return "" }
    var facts = [
      ("Connections", "\(Int64(now.connections))"), ("Streams", "\(Int64(now.streams))"),
      ("Watches", "\(Int64(now.watches))"), ("Users logged in", "\(Int64(now.tokens))"),
    ]
    if let bytes = report.databaseBytes { facts.append(("Database", "\(max(0, bytes) >> 10) KiB")) }
    return """
      <section>
      <h2>The last ten minutes</h2>
      <div class="plots">
      \(StatusPlot.all(report.spans).map(\.html).joined(separator: "\n"))
      </div>
      <dl>
      \(facts.map { "<div><dt>\($0.0)</dt><dd>\($0.1)</dd></div>" }.joined(separator: "\n"))
      </dl>
      </section>

      """
  }

  /// Lines to be pasted into a shell, for this very gateway.
  private var examples: [(what: String, command: String)] {
    let curl = needsUser ? "curl -u root" : "curl"
    return [
      ("Write a key:", "\(curl) -X PUT -d 'hello' \("\(address)/keys/greeting".shellWord)"),
      ("Read it:", "\(curl) \("\(address)/keys/greeting".shellWord)"),
      ("Watch every change under a prefix:", "\(curl) -N \("\(address)/keys?prefix=greet&watch=true".shellWord)"),
    ]
  }

  /// A button beside each command. If the page may not use the clipboard (plain HTTP of another machine), the button
  /// selects the text and lets the browser copy that.
  private static let script = """
    for (const block of document.querySelectorAll("pre")) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
      button.addEventListener("click", async () => {
        const text = block.querySelector("code");
        getSelection().selectAllChildren(text);
        try { await navigator.clipboard.writeText(text.textContent); } catch { document.execCommand("copy"); }
        button.textContent = "Copied";
      });
      block.append(button);
    }
    """

  private static let icon =
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    + "%3Crect width='16' height='16' rx='4' fill='%23419eda'/%3E"
    + "%3Cpath d='M5 4 2.5 8 5 12M11 4l2.5 4-2.5 4' fill='none' stroke='%23fff' stroke-width='1.6'/%3E"
    + "%3Ccircle cx='8' cy='8' r='1.5' fill='%23fff'/%3E%3C/svg%3E"

  private static let style = """
    :root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --text: #1b2733; --faint: #566573; \
    --line: #dce2e8; --accent: #1769aa; --second: #a45a00; --good: #1a7f43; --bad: #b3261e; }
    @media (prefers-color-scheme: dark) {
      :root { --page: #12181e; --card: #1b232b; --text: #e6edf3; --faint: #9aa8b5; --line: #303b46; \
    --accent: #7cc0f2; --second: #f0b45c; --good: #6bd08f; --bad: #ff9a90; }
    }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
    main { max-width: 46rem; margin: 0 auto; padding: clamp(1.5rem, 6vw, 4rem) 1.25rem; }
    h1 { margin: 0; font-size: 2rem; line-height: 1.2; }
    h2 { margin: 2rem 0 0; font-size: 1.25rem; }
    header p { margin: .5rem 0 1.5rem; color: var(--faint); }
    a { color: var(--accent); }
    dl { display: flex; flex-wrap: wrap; gap: 1px; margin: 0; \
    overflow: hidden; border: 1px solid var(--line); border-radius: .5rem; background: var(--line); }
    dl div { flex: 1 1 9rem; padding: .75rem 1rem; background: var(--card); }
    dt { color: var(--faint); font-size: .875rem; }
    dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
    .good { color: var(--good); }
    .bad { color: var(--bad); }
    .faint { color: var(--faint); }
    table { width: 100%; margin: .75rem 0 0; border-collapse: collapse; border: 1px solid var(--line); \
    background: var(--card); font-size: .9375rem; }
    th, td { padding: .4rem clamp(.35rem, 2vw, .75rem); border-top: 1px solid var(--line); text-align: left; }
    td:nth-child(2) { overflow-wrap: anywhere; }
    th { color: var(--faint); font-weight: 400; font-size: .875rem; }
    .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 1rem; margin: .75rem 0 1rem; }
    figure { margin: 0; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; \
    background: var(--card); }
    figcaption { font-size: .875rem; font-weight: 600; }
    .key { margin-left: .5rem; font-weight: 400; white-space: nowrap; }
    svg { display: block; width: 100%; height: 5rem; margin: .5rem 0 .25rem; }
    .grid { fill: none; stroke: var(--line); vector-effect: non-scaling-stroke; }
    .line { fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linejoin: round; vector-effect: non-scaling-stroke; }
    .one { color: var(--accent); }
    .two { color: var(--second); }
    section .scale { display: flex; justify-content: space-between; margin: 0; font-size: .75rem; }
    nav { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem 1.25rem; margin: 1.5rem 0 0; }
    nav .first { padding: .5rem 1rem; border-radius: .375rem; background: var(--accent); color: var(--card); \
    font-weight: 600; text-decoration: none; }
    section p { margin: 1rem 0 .25rem; color: var(--faint); }
    pre { display: flex; gap: 1rem; align-items: start; justify-content: space-between; margin: 0; \
    padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: .375rem; \
    background: var(--card); }
    code { min-width: 0; font: .875rem/1.5 ui-monospace, monospace; }
    pre button { flex: none; padding: .125rem .625rem; border: 1px solid var(--line); border-radius: .375rem; \
    background: var(--page); color: var(--accent); font: .875rem/1.5 system-ui, sans-serif; cursor: pointer; }
    """
}

extension String {
  /// Safe in text and in quoted attributes of HTML.
  fileprivate var htmlEscaped: String {
    // By scalars: a character may be a bracket with an accent.
    unicodeScalars.reduce(into: "") { text, scalar in
      switch scalar {
      case "&": text += "&amp;"
      case "<": text += "&lt;"
      case ">": text += "&gt;"
      case "\"": text += "&quot;"
      case "'": text += "&#39;"
      default: text.unicodeScalars.append(scalar)
      }
    }
  }
}
