import HTTPServer

/// The page at `/`, for people: what this is, how it is, and where to go on.
struct LandingPage {
  /// Where the page was asked for, as `http://HOST:PORT`.
  let address: String
  /// What keeps etcd from being well; nil where nothing does.
  let complaint: String?
  /// etcd's version; empty where it is not told.
  let etcdVersion: String
  /// Whether etcd asks for a user.
  let needsUser: Bool
  /// Whether there is a page `/docs`.
  let hasDocs: Bool

  func response() -> HTTPResponse {
    var response = HTTPResponse(status: 200, contentType: "text/html; charset=utf-8", text: html)
    response.headers = Self.headers
    return response
  }

  private static let headers =
    PagePolicy.headers(allowing: PagePolicy.style(style)) + [("Cache-Control", "no-store")]

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
    <p>An HTTP and JSON front door for <a href="https://etcd.io">etcd</a>: keys as plain resources, the whole v3 API, \
    watches as streams.</p>
    </header>
    <dl>
    <div><dt>Gateway</dt><dd>\(EtcdRest.version)</dd></div>
    <div><dt>etcd</dt><dd>\(etcdVersion.isEmpty ? "version not told" : etcdVersion.htmlEscaped)</dd></div>
    <div><dt>Health</dt><dd class="\(complaint == nil ? "good" : "bad")">\
    \(complaint == nil ? "well" : complaint!.htmlEscaped)</dd></div>
    </dl>
    <nav>
    \(hasDocs ? "<a class=\"first\" href=\"docs/\">Browse and try the API</a>\n" : "")\
    <a href="openapi.json">openapi.json</a>
    <a href="openapi.yaml">openapi.yaml</a>
    <a href="health">health</a>
    <a href="version">version</a>
    </nav>
    <section>
    <h2>Say hello</h2>
    \(examples.map { "<p>\($0.what)</p>\n<pre><code>\($0.command.htmlEscaped)</code></pre>" }.joined(separator: "\n"))
    </section>
    </main>
    </body>
    </html>

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

  private static let icon =
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    + "%3Crect width='16' height='16' rx='4' fill='%23419eda'/%3E"
    + "%3Cpath d='M5 4 2.5 8 5 12M11 4l2.5 4-2.5 4' fill='none' stroke='%23fff' stroke-width='1.6'/%3E"
    + "%3Ccircle cx='8' cy='8' r='1.5' fill='%23fff'/%3E%3C/svg%3E"

  private static let style = """
    :root { color-scheme: light dark; --page: #f4f6f8; --card: #fff; --text: #1b2733; --faint: #566573; \
    --line: #dce2e8; --accent: #1769aa; --good: #1a7f43; --bad: #b3261e; }
    @media (prefers-color-scheme: dark) {
      :root { --page: #12181e; --card: #1b232b; --text: #e6edf3; --faint: #9aa8b5; --line: #303b46; \
    --accent: #7cc0f2; --good: #6bd08f; --bad: #ff9a90; }
    }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--page); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
    main { max-width: 46rem; margin: 0 auto; padding: clamp(1.5rem, 6vw, 4rem) 1.25rem; }
    h1 { margin: 0; font-size: 2rem; line-height: 1.2; }
    h2 { margin: 2rem 0 0; font-size: 1.25rem; }
    header p { margin: .5rem 0 1.5rem; color: var(--faint); }
    a { color: var(--accent); }
    dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1px; margin: 0; \
    overflow: hidden; border: 1px solid var(--line); border-radius: .5rem; background: var(--line); }
    dl div { padding: .75rem 1rem; background: var(--card); }
    dt { color: var(--faint); font-size: .875rem; }
    dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
    .good { color: var(--good); }
    .bad { color: var(--bad); }
    nav { display: flex; flex-wrap: wrap; align-items: center; gap: .75rem 1.25rem; margin: 1.5rem 0 0; }
    nav .first { padding: .5rem 1rem; border-radius: .375rem; background: var(--accent); color: var(--card); \
    font-weight: 600; text-decoration: none; }
    section p { margin: 1rem 0 .25rem; color: var(--faint); }
    pre { margin: 0; padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--line); border-radius: .375rem; \
    background: var(--card); }
    code { font: .875rem/1.5 ui-monospace, monospace; }
    """
}

extension String {
  /// Fit for text and for quoted attributes of HTML.
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
