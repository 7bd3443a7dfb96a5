import Foundation
import TestSupport
import Testing

/// Each command and program of README.md and `docs` runs as it stands there, except for addresses and folders, and does
/// what the page says. A block that is neither a program, nor data, nor a `DocumentationException` is a failure.
@Suite(.timeLimit(.minutes(15)))
struct DocumentationTests {
  private static let pages = (try? DocumentedBlock.pages) ?? []
  /// Pages about one version of etcd.
  private static let versions = ["docs/comparison.md": EtcdVersion.v3_5]

  @Test func thereAreExamplesInEveryLanguage() throws {
    let programs = try Self.pages.flatMap { try DocumentedProgram.all(in: $0) }.flatMap(\.programs)
    #expect(Set(programs.map(\.language)) == Set(DocumentedProgram.runners.keys))
    let tools = [
      "curl -fN", "curl -sN", "fetch(", "import requests", "import websockets", "curl -fsOJ", "net/http", "jq", "<?php",
      "etcd-rest check", "etcd-rest serve", "etcdctl", "openssl",
    ]
    for tool in tools {
      #expect(programs.contains { $0.code.contains(tool) }, "\(tool)")
    }
  }

  @Test func eachExceptionIsOne() throws {
    for exception in DocumentationException.notRun + DocumentationException.endless {
      let lines = try DocumentedProgram.all(in: exception.page).flatMap {
        $0.code.split(separator: "\n").map(String.init)
      }
      #expect(lines.contains { exception.isOf($0, exception.page) }, "\(exception)")
    }
  }

  @Test(arguments: pages, EtcdVersion.allCases)
  func theyDoWhatIsSaid(_ page: String, _ version: EtcdVersion) async throws {
    guard Self.versions[page].map({ $0 == version }) ?? true else { return }
    for (number, group) in try DocumentedProgram.all(in: page).enumerated() {
      // Each group has an etcd of its own, so that its revisions are those of the page.
      try await Reader.with(group, version) { reader in
        var output = ""
        for program in group.programs {
          let run = try await program.run(reader)
          output += run.output
          if let fault = program.fault(in: run, reader) {
            Issue.record("\(program.place): \(fault)\n\(run.output)\(run.errorOutput)")
          }
        }
        if number == 0 { try await Self.further[page]?(reader, output) }
      }
    }
  }

  /// What the first programs of a page leave behind and print, where the page does not show it.
  private static let further: [String: @Sendable (Reader, String) async throws -> Void] = [
    "docs/certificates.md": { reader, _ in
      let written = try String(contentsOfFile: "\(reader.directory)/written.json", encoding: .utf8)
      #expect(written.hasPrefix(#"{"revision":"#), "\(written)")
      for name in ["ca", "etcd", "gateway", "client"] {
        let subject = try await CommandRun.shell(
          "openssl x509 -in '\(reader.directory)/\(name).pem' -noout -subject -nameopt multiline")
        #expect(subject.output.contains("example") && !subject.output.contains("commonName"), "\(subject.output)")
      }
    },
    "docs/command-line.md": { _, output in
      #expect(output.contains("app/color\nblue\n") && output.contains("blue\nblue\n"), "\(output)")
      #expect(output.hasSuffix("saved --full\n"), "\(output)")
    },
  ]

  /// What runs in Node.js runs in a browser as it is, where the page says so.
  @Test func thoseForBrowsersDoTheSameThere() async throws {
    let programs = try Self.pages.flatMap { try DocumentedProgram.all(in: $0) }.flatMap(\.programs)
    let program = try #require(programs.first { $0.language == "javascript" })
    try await withBrowser { browser in
      try await withAuth(.v3_5) { _, gateway in
        let page = try await browser.openPage()
        // A page of the gateway's origin without a policy about scripts and connections.
        try await page.navigate(to: gateway.url + "/livez")
        let output = try await page.evaluate(
          """
          (async () => {
            const lines = [];
            const console = { log: (...words) => lines.push(words.join(" ")) };
            \(program.code.replacing("http://127.0.0.1:8379", with: gateway.url))
            return lines.join("\\n");
          })()
          """)
        #expect(output.string == program.output.map(DocumentedProgram.comparable))
      }
    }
  }
}
