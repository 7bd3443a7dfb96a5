import Foundation
import Synchronization

/// A page of a `Browser`, with all of its requests and complaints.
package final class BrowserPage: Sendable {
  /// A request by any part of the page.
  package struct Request: Sendable {
    package var method: String
    package var url: String
    /// The status of the response, once it has come.
    package var status: Int?
    /// Why the response is missing or incomplete.
    package var failure: String?
  }

  /// How a page is shown.
  package struct Look: Sendable {
    package var width: Int
    package var height: Int
    package var isDark: Bool
    /// Whether it is a phone's, with two device pixels for each of the page's.
    package var isPhone: Bool

    package init(width: Int, height: Int, isDark: Bool = false, isPhone: Bool = false) {
      self.width = width
      self.height = height
      self.isDark = isDark
      self.isPhone = isPhone
    }
  }

  private struct State {
    var requests: [String: Request] = [:]
    var order: [String] = []
    var complaints: [String] = []
    /// The documents that have been loaded, by their loaders' names.
    var loaded: Set<String> = []
    var dialogs: LoginDialogs?
  }

  private let devTools: DevTools
  private let session: String
  private let state = Mutex(State())

  private init(_ devTools: DevTools, session: String) {
    self.devTools = devTools
    self.session = session
  }

  static func open(_ devTools: DevTools, downloads: String?) async throws -> BrowserPage {
    func name(_ answer: JSON, _ key: String) throws -> JSON {
      guard let value = answer[key] else { throw TestSupportError("Chromium tells no \(key): \(answer)") }
      return value
    }
    let context = try name(try await devTools.call("Target.createBrowserContext"), "browserContextId")
    var behaviour: JSON = ["behavior": downloads == nil ? "deny" : "allow", "browserContextId": context]
    if let downloads { behaviour["downloadPath"] = .string(downloads) }
    try await devTools.call("Browser.setDownloadBehavior", behaviour)
    let target = try name(
      try await devTools.call("Target.createTarget", ["url": "about:blank", "browserContextId": context]), "targetId")
    let session = try name(
      try await devTools.call("Target.attachToTarget", ["targetId": target, "flatten": true]), "sessionId")
    let page = BrowserPage(devTools, session: session.string ?? "")
    await devTools.listen(to: page.session) { [weak page] in page?.take($0, $1) }
    for domain in ["Page", "Runtime", "Log", "Network"] { try await page.call("\(domain).enable") }
    try await page.call("Page.setLifecycleEventsEnabled", ["enabled": true])
    return page
  }

  @discardableResult
  private func call(_ method: String, _ parameters: JSON = [:]) async throws -> JSON {
    try await devTools.call(method, parameters, session: session)
  }

  // MARK: What it did

  /// Its requests so far, in their order; a redirected one once, with its last address.
  package var requests: [Request] { state.withLock { state in state.order.compactMap { state.requests[$0] } } }

  /// Errors and warnings of its console: of scripts, of the network (statuses from 400 on, too) and of its security
  /// policy; and errors that were not caught.
  package var complaints: [String] { state.withLock(\.complaints) }

  private func take(_ event: String, _ parameters: JSON) {
    if event.hasPrefix("Fetch."), let dialogs = state.withLock(\.dialogs) { goOn(event, parameters, dialogs) }
    state.withLock { state in
      let id = parameters["requestId"]?.string ?? ""
      switch event {
      case "Page.lifecycleEvent" where parameters["name"] == "load":
        state.loaded.insert(parameters["loaderId"]?.string ?? "")
      case "Network.requestWillBeSent":
        let request = parameters["request"]
        if state.requests[id] == nil { state.order.append(id) }
        state.requests[id] = Request(
          method: request?["method"]?.string ?? "", url: request?["url"]?.string ?? "")
      case "Network.responseReceived":
        state.requests[id]?.status = parameters["response"]?["status"]?.number.map { Int($0) }
      case "Network.loadingFailed":
        state.requests[id]?.failure =
          parameters["blockedReason"]?.string ?? parameters["errorText"]?.string ?? "unknown"
      case "Log.entryAdded":
        let entry = parameters["entry"]
        guard let level = entry?["level"]?.string, level == "error" || level == "warning" else { return }
        state.complaints.append("\(level): \(entry?["text"]?.string ?? "") (\(entry?["url"]?.string ?? ""))")
      case "Runtime.consoleAPICalled":
        guard let type = parameters["type"]?.string, ["error", "warning", "assert"].contains(type) else { return }
        let arguments = parameters["args"]?.array ?? []
        let text = arguments.map { $0["value"]?.string ?? $0["description"]?.string ?? "\($0)" }
        state.complaints.append("console.\(type): \(text.joined(separator: " "))")
      case "Runtime.exceptionThrown":
        state.complaints.append("uncaught: \(Self.text(ofException: parameters["exceptionDetails"]))")
      default: break
      }
    }
  }

  private static func text(ofException details: JSON?) -> String {
    let exception = details?["exception"]
    return exception?["description"]?.string ?? exception?["value"]?.string ?? details?["text"]?.string
      ?? "\(details, default: "")"
  }

  // MARK: Events

  /// Goes to an address and returns once the document with everything that belongs to it has been loaded.
  /// - Throws: `TestSupportError` if the address does not answer, or not in time.
  package func navigate(to url: String, within limit: Duration = suiteLimit) async throws {
    let answer = try await call("Page.navigate", ["url": .string(url)])
    if let error = answer["errorText"]?.string { throw TestSupportError("\(url): \(error)") }
    // If only the fragment differs there is no new document.
    guard let loader = answer["loaderId"]?.string else { return }
    _ = try await eventually("load of \(url)", within: limit) {
      state.withLock { $0.loaded.contains(loader) } ? true : nil
    }
  }

  /// The value of an expression, of a promise once it is resolved; undefined is null.
  /// - Throws: `TestSupportError` with the page's error.
  @discardableResult
  package func evaluate(_ script: String) async throws -> JSON {
    let answer = try await call(
      "Runtime.evaluate",
      ["expression": .string(script), "awaitPromise": true, "returnByValue": true, "userGesture": true])
    if let details = answer["exceptionDetails"] { throw TestSupportError(Self.text(ofException: details)) }
    return answer["result"]?["value"] ?? nil
  }

  /// Evaluates an expression again and again until it is neither null nor false nor an empty text.
  /// - Throws: `TestSupportError` at the limit, with the page's complaints.
  @discardableResult
  package func wait(
    _ what: String, for script: String, within limit: Duration = suiteLimit
  ) async throws -> JSON {
    do {
      return try await eventually(what, within: limit, every: .milliseconds(20)) { () -> JSON? in
        let value: JSON
        do {
          value = try await evaluate(script)
        } catch let error as DevTools.RequestError where error.message.contains("Inspected target navigated") {
          // The page is being replaced by the next one, which is awaited.
          return nil
        }
        // A bare nil would be a value here: JSON's own null.
        return [.null, false, ""].contains(value) ? JSON?.none : value
      }
    } catch let error as TestSupportError {
      throw TestSupportError(
        "\(error); the page's complaints: \(complaints); its text: \(try await text().suffix(2000))")
    }
  }

  /// The visible text of the page.
  package func text() async throws -> String { try await evaluate("document.body.innerText").string ?? "" }

  /// Clicks the element of a CSS selector as soon as there is one that is not disabled.
  package func click(_ selector: String) async throws {
    let click = "((e) => e && !e.disabled && (e.click(), true))(document.querySelector(\(JSON.string(selector))))"
    try await wait("\(selector) to click", for: click)
  }

  /// Types into the field of a CSS selector as soon as there is one, in place of its content.
  package func type(_ text: String, into selector: String) async throws {
    let focus = """
      ((e) => e && !e.disabled && (e.focus(), e.select(), true))(document.querySelector(\(JSON.string(selector))))
      """
    try await wait("\(selector) to type into", for: focus)
    try await call("Input.insertText", ["text": .string(text)])
  }

  /// Chooses a file in the file field of a CSS selector as soon as there is one.
  package func choose(_ path: String, in selector: String) async throws {
    try await wait("\(selector) to choose in", for: "document.querySelector(\(JSON.string(selector))) !== null")
    let field = try await call(
      "Runtime.evaluate", ["expression": .string("document.querySelector(\(JSON.string(selector)))")])
    try await call(
      "DOM.setFileInputFiles", ["files": [.string(path)], "objectId": field["result"]?["objectId"] ?? nil])
  }

  /// The dialogs in which the browser itself asks for a user and password.
  package final class LoginDialogs: Sendable {
    private let logins: [(user: String, password: String)]
    private let shown = Mutex(0)

    init(_ logins: [(user: String, password: String)]) { self.logins = logins }

    /// How many there have been.
    package var count: Int { shown.withLock { $0 } }

    /// The user and password for the next one; nil if it is to be closed.
    fileprivate func next() -> (user: String, password: String)? {
      shown.withLock { count in
        defer { count += 1 }
        return count < logins.count ? logins[count] : nil
      }
    }
  }

  /// Answers the dialogs in which the browser itself asks for a user and password, each with one of `logins`, and
  /// closes all later ones.
  package func answerDialogs(with logins: [(user: String, password: String)]) async throws -> LoginDialogs {
    let dialogs = LoginDialogs(logins)
    state.withLock { $0.dialogs = dialogs }
    try await call("Fetch.enable", ["handleAuthRequests": true])
    return dialogs
  }

  /// Lets a request go on that the browser holds back because dialogs are answered.
  private func goOn(_ event: String, _ parameters: JSON, _ dialogs: LoginDialogs) {
    let request: JSON = parameters["requestId"] ?? nil
    var (method, answer): (String, JSON) = ("Fetch.continueRequest", ["requestId": request])
    if event == "Fetch.authRequired" {
      let login: JSON =
        if let login = dialogs.next() {
          [
            "response": "ProvideCredentials", "username": .string(login.user), "password": .string(login.password),
          ]
        } else {
          ["response": "CancelAuth"]
        }
      (method, answer) = ("Fetch.continueWithAuth", ["requestId": request, "authChallengeResponse": login])
    }
    // It fails if the page has gone meanwhile, and the request with it.
    Task { [method, answer] in try? await call(method, answer) }
  }

  package func show(as look: Look) async throws {
    try await call(
      "Emulation.setDeviceMetricsOverride",
      [
        "width": .number(Double(look.width)), "height": .number(Double(look.height)),
        "deviceScaleFactor": look.isPhone ? 2 : 1, "mobile": .bool(look.isPhone),
      ])
    let scheme: JSON = ["name": "prefers-color-scheme", "value": look.isDark ? "dark" : "light"]
    try await call("Emulation.setEmulatedMedia", ["features": [scheme]])
  }

  /// The visible part, as PNG.
  package func screenshot() async throws -> [UInt8] {
    let data = try await call("Page.captureScreenshot", ["format": "png"])["data"]?.string ?? ""
    return Array(Data(base64Encoded: data) ?? Data())
  }
}
