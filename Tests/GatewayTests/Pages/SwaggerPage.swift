import Foundation
import TestSupport

/// The page `/docs` in a browser, used as a person would use it.
struct SwaggerPage {
  let page: BrowserPage

  /// The answer to an operation, as the page shows it.
  struct Answer {
    var status: Int
    var body: String
    var json: JSON { get throws { try JSON(parsing: Array(body.utf8)) } }
  }

  /// Opens the page and returns once all operations are shown.
  static func open(
    _ gateway: GatewayProcess, in browser: Browser, downloads: String? = nil
  ) async throws -> SwaggerPage {
    let docs = SwaggerPage(page: try await browser.openPage(downloads: downloads))
    try await docs.reload(gateway)
    return docs
  }

  func reload(_ gateway: GatewayProcess) async throws {
    try await page.navigate(to: "\(gateway.url)/docs/")
    try await page.wait("operations", for: "document.querySelector('.opblock') !== null")
  }

  func logIn(_ user: String, _ password: String) async throws {
    try await enter(user, password)
    try await page.wait(
      "logout button", for: "document.querySelector('.modal-ux .auth-container')?.innerText.includes('Logout')")
    try await page.click(".modal-ux .btn-done")
  }

  /// Opens the form, whose first field has the focus, and fills it.
  func enter(_ user: String, _ password: String) async throws {
    try await page.click(".auth-wrapper .authorize")
    try await page.wait("focus", for: "document.activeElement?.id === 'auth-basic-username'")
    try await page.type(user, into: "#auth-basic-username")
    try await page.type(password, into: "#auth-basic-password")
    // Each scheme has a form of its own.
    try await page.evaluate("document.querySelector('#auth-basic-password').form?.querySelector('.authorize')?.click()")
  }

  func logOut() async throws {
    try await page.click(".auth-wrapper .authorize")
    try await page.wait(
      "logout",
      for: "[...document.querySelectorAll('.modal-ux button')].find((b) => b.innerText === 'Logout')?.click() ?? true")
    try await page.click(".modal-ux .btn-done")
  }

  /// Fills an operation's fields and executes it.
  /// - Parameters:
  ///   - operation: its element's name, as in `KV-put`.
  ///   - parameters: by name; others stay as they are.
  ///   - body: typed in place of the example; nil leaves that.
  ///   - file: chosen as the body.
  func execute(
    _ operation: String, _ parameters: [String: String] = [:], body: String? = nil, file: String? = nil,
    accept: String? = nil
  ) async throws -> Answer {
    try await start(operation, parameters, body: body, file: file, accept: accept)
    return try await answer(operation)
  }

  /// Like ``execute``, without waiting for the answer.
  func start(
    _ operation: String, _ parameters: [String: String] = [:], body: String? = nil, file: String? = nil,
    accept: String? = nil
  ) async throws {
    let block = "#operations-\(operation)"
    if try await page.evaluate("document.querySelector('\(block) .execute') === null") == true {
      try await page.click("\(block) .opblock-summary-control")
    }
    // Fields appear before the examples, which would overwrite what is typed.
    try await page.wait(
      "\(operation) to be open",
      for: """
        ((block) => block.querySelector(".execute") !== null
          && [...block.querySelectorAll("tr:has(.required) input, .body-param__text")].every((field) => field.value))
        (document.querySelector("\(block)"))
        """)
    for (name, value) in parameters {
      try await fill("\(block) tr[data-param-name='\(name)'] input", with: value)
    }
    if let body {
      try await select("text/plain", in: "\(block) .opblock-section-request-body select")
      try await fill("\(block) .body-param__text", with: body)
    }
    if let file {
      try await select("application/octet-stream", in: "\(block) .opblock-section-request-body select")
      try await page.choose(file, in: "\(block) .opblock-section-request-body input[type=file]")
    }
    if let accept { try await select(accept, in: "\(block) tr.response[data-code='200'] select") }
    // The rest of the previous answer would be taken for the new one.
    try await page.evaluate("document.querySelector('\(block) .btn-clear')?.click()")
    let live = "document.querySelector('\(block) .live-responses-table .response')"
    try await page.wait("no answer yet", for: "\(live) === null")
    try await page.click("\(block) .execute")
  }

  /// Waits for the next answer of an operation.
  func answer(_ operation: String) async throws -> Answer {
    let live = "document.querySelector('#operations-\(operation) .live-responses-table .response')"
    let status = try await page.wait(
      "answer of \(operation)", for: "\(live)?.querySelector('.response-col_status').innerText")
    let text = try await page.evaluate(
      "(\(live).querySelector('.highlight-code code') ?? \(live).querySelector('.response-col_description')).textContent"
    )
    return Answer(status: Int((status.string ?? "").prefix(3)) ?? 0, body: text.string ?? "")
  }

  /// Types into a field and leaves it, as pressing a button does: until then the page may delay the change.
  private func fill(_ field: String, with value: String) async throws {
    try await page.type(value, into: field)
    try await page.evaluate("document.activeElement?.blur()")
  }

  /// Selects an option if the list has it; a list with other options stays.
  private func select(_ value: String, in selector: String) async throws {
    let list = "document.querySelector(\(JSON.string(selector)))"
    guard try await page.evaluate("[...(\(list)?.options ?? [])].some((o) => o.value === '\(value)')") == true else {
      return
    }
    try await page.evaluate(
      "\(list).value = '\(value)', \(list).dispatchEvent(new Event('change', { bubbles: true }))")
  }
}
