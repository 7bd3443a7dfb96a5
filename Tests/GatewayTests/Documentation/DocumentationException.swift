/// A command of the documentation that `DocumentationTests` do not run, or not as it stands.
struct DocumentationException {
  let page: String
  /// The beginning of its line.
  let beginning: String
  /// Why it is not run, and which test runs the same.
  var reason = ""
  /// For a command that does not end: after how many lines it is ended, and the command that causes the last one.
  var lines = 1
  var meanwhile = ""

  func isOf(_ line: String, _ page: String) -> Bool { page == self.page && line.hasPrefix(beginning) }

  /// Commands that no test can run.
  static let notRun = [
    DocumentationException(
      page: "README.md", beginning: "make run ", reason: "It builds, and serves until it is interrupted: DevTests."),
    DocumentationException(page: "README.md", beginning: "make test ", reason: "It runs this."),
    DocumentationException(
      page: "docs/operations.md", beginning: "apt install ./etcd-rest_",
      reason: "make deb-test installs and upgrades the package."),
    DocumentationException(
      page: "docs/operations.md", beginning: "docker compose -f docker/compose.cluster.yaml up",
      reason: "make image-test runs what the file says."),
  ]

  /// Commands that do not end by themselves.
  static let endless = [
    DocumentationException(
      page: "README.md", beginning: "curl -N ", lines: 2,
      meanwhile: "curl -u root:rootpw -X PUT -d bye http://127.0.0.1:8379/keys/greeting"),
    DocumentationException(
      page: "docs/command-line.md", beginning: "etcd-rest watch ", meanwhile: "etcd-rest put app/color red"),
    DocumentationException(page: "docs/command-line.md", beginning: "etcd-rest lease keep-alive "),
    DocumentationException(page: "docs/keys.md", beginning: "curl -N "),
    DocumentationException(page: "docs/proxies.md", beginning: "etcd-rest serve "),
    DocumentationException(page: "docs/tls.md", beginning: "etcd-rest serve --endpoints "),
  ]

  /// Programs of whole pages, or of a language in a page, that others run.
  private static let elsewhere: [(page: String, language: String?, reason: String)] = [
    ("docs/clients.md", nil, "scripts/check-clients has run each, and has written the page."),
    ("docs/keys.md", "javascript", "It is a part of a page: KeyWatchBrowserTests have one like it."),
  ]

  static func isElsewhere(_ block: DocumentedBlock, of page: String) -> Bool {
    elsewhere.contains { $0.page == page && ($0.language == nil || $0.language == block.language) }
  }
}
