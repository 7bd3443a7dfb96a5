import Foundation

/// A headless Chromium for one test. See `withBrowser`.
package final class Browser: Sendable {
  /// Debian's package `chromium-headless-shell`, which takes a quarter of the time of `chromium`: it has no windows.
  private static let program = "/usr/bin/chromium-headless-shell"

  package let process: ChildProcess
  private let devTools: DevTools

  private init(_ process: ChildProcess, _ devTools: DevTools) {
    self.process = process
    self.devTools = devTools
  }

  /// A new empty page, which shares cookies, logins and storage with no other.
  /// - Parameter downloads: the folder for downloads; nil for none.
  package func openPage(downloads: String? = nil) async throws -> BrowserPage {
    try await BrowserPage.open(devTools, downloads: downloads)
  }

  /// Starts Chromium with a new profile in `directory`.
  fileprivate static func start(in directory: String) async throws -> Browser {
    let profile = "\(directory)/profile"
    let process = try await ChildProcess.start(
      program,
      [
        "--headless", "--remote-debugging-port=0", "--user-data-dir=\(profile)",
        // Its sandbox does not work for root, nor in most containers; the pages are this project's.
        "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--disable-crash-reporter",
        // Nothing outside can be reached, whatever requests it.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        // Gateways under test have certificates of authorities that exist for one test.
        "--ignore-certificate-errors", "about:blank",
      ], output: "\(directory)/output", error: "\(directory)/log")
    do {
      // Two lines: the port, and the path of the browser's own WebSocket.
      let place = try await eventually("DevTools of Chromium") { () -> [String]? in
        if let exit = process.exited { throw TestSupportError("Chromium ended (\(exit)): \(process.errorOutput)") }
        let text = try? String(contentsOfFile: "\(profile)/DevToolsActivePort", encoding: .utf8)
        let lines = text?.split(separator: "\n").map(String.init) ?? []
        return lines.count == 2 ? lines : nil
      }
      return Browser(process, try await DevTools.connect("http://127.0.0.1:\(place[0])", place[1]))
    } catch {
      await process.killAndWait()
      throw error
    }
  }

  /// Ends it properly, so that none of its many processes still works in the profile.
  fileprivate func stop() async {
    _ = try? await devTools.call("Browser.close")
    _ = try? await process.exit()
    await process.killAndWait()
  }
}

/// Runs `body` with a fresh Chromium; process and profile are gone when it returns, however it ends.
/// - Throws: what `body` throws; `TestSupportError` if Chromium does not start.
package func withBrowser<Value>(
  isolation: isolated (any Actor)? = #isolation, _ body: (Browser) async throws -> Value
) async throws -> Value {
  try await Turnstile.throughProcesses {
    try await withTemporaryDirectory { directory in
      let browser = try await Browser.start(in: directory)
      return try await finally {
        try await body(browser)
      } cleanup: {
        await browser.stop()
      }
    }
  }
}
