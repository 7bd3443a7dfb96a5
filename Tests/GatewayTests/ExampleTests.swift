import Foundation
import TestSupport
import Testing

/// The examples on those pages of the documentation that have programs, and in the README's section about streams, as
/// they are there.
@Suite(.timeLimit(.minutes(15)))
struct ExampleTests {
  @Test func thereAreExamplesInEveryLanguage() throws {
    let examples = try Example.all().flatMap { $0 }
    #expect(Set(examples.map(\.language)) == Set(Example.commands.keys))
    let tools = [
      "curl -fN", "curl -sN", "fetch(", "import requests", "import websockets", "curl -fsOJ", "net/http", "jq", "<?php",
    ]
    for tool in tools {
      #expect(examples.contains { $0.code.contains(tool) }, "\(tool)")
    }
  }

  @Test(arguments: EtcdVersion.allCases)
  func theyDoWhatIsSaid(version: EtcdVersion) async throws {
    for examples in try Example.all() {
      // Each group has an etcd of its own, so that its revisions are those of the page.
      try await withAuth(version) { _, gateway in
        for example in examples {
          let run = try await example.run(at: gateway.url, version)
          let report = "\(example.place): \(run.output)\(run.errorOutput)"
          #expect(run.exit == .code(0), "\(report)")
          if let output = example.output {
            #expect(Self.comparable(run.output) == Self.comparable(output), "\(report)")
          }
        }
      }
    }
  }

  /// Programs for Node.js also run unchanged in a browser, if the page says so.
  @Test func thoseForBrowsersDoTheSameThere() async throws {
    let example = try #require(try Example.all().flatMap { $0 }.first { $0.language == "javascript" })
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
            \(try example.code(at: gateway.url))
            return lines.join("\\n");
          })()
          """)
        #expect(output.string == example.output.map(Self.comparable))
      }
    }
  }

  /// The text without the numbers that each etcd chooses for itself (all others must be equal), and without line feeds
  /// at its end: a key's value has none.
  private static func comparable(_ text: String) -> String {
    text.replacing(/\n+$/) { _ in "" }
      .replacing(/"(cluster_id|member_id|raft_term)":"[0-9]+"/) { "\"\($0.output.1)\":\"-\"" }
      .replacing(/"lease":"[0-9]{10,}"/) { _ in "\"lease\":\"-\"" }
  }
}

/// A program on a page, and its output.
private struct Example {
  /// The command for a program's language, and the name of its file.
  static let commands = [
    "sh": ("bash -e", "example.sh"), "javascript": ("node", "example.mjs"),
    "python": ("/usr/bin/python3", "example.py"), "php": ("php", "example.php"), "ruby": ("ruby", "example.rb"),
  ]
  /// The mark after the language of a program that needs what the one before it has left at etcd.
  private static let continuation = "same-etcd"

  let language: String
  /// The page and the line where the program begins.
  let place: String
  let code: String
  /// The `text` block that follows, if there is one.
  private(set) var output: String?

  /// All programs of all pages, grouped by those that need the same etcd.
  static func all() throws -> [[Example]] {
    try [
      "docs/quick-start.md", "docs/plain-json.md", "docs/streams.md", "docs/users.md", "docs/from-etcd-v2.md",
      "docs/from-consul.md", "README.md",
    ].flatMap { try all(in: $0) }
  }

  /// All programs of a page (CommonMark, "Fenced code blocks"); a block without a language is not a program.
  /// - Throws: `TestSupportError` for a block that is neither a program nor the output of the one before.
  private static func all(in page: String) throws -> [[Example]] {
    var groups: [[Example]] = []
    var block: (info: String, place: String, text: String)?
    let text = try String(contentsOfFile: "\(packageRoot)/\(page)", encoding: .utf8)
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      guard line.hasPrefix("```") else {
        block?.text += line + "\n"
        continue
      }
      guard let (info, place, text) = block.take() else {
        block = (String(line.dropFirst(3)), "\(page), line \(index + 2)", "")
        continue
      }
      let words = info.split(separator: " ").map(String.init)
      let last = groups.indices.last
      if let language = words.first, commands[language] != nil {
        let example = Example(language: language, place: place, code: text)
        if words.count == 1 {
          groups.append([example])
        } else if let last, words.dropFirst() == [continuation] {
          groups[last].append(example)
        } else {
          throw TestSupportError("\(place): what is '\(info)'?")
        }
      } else if info == "text", let last, let example = groups[last].indices.last, groups[last][example].output == nil {
        groups[last][example].output = text
      } else if !info.isEmpty {
        throw TestSupportError("\(place): nobody checks this block")
      }
    }
    if let block { throw TestSupportError("\(block.place): a block without an end") }
    return groups
  }

  /// Its code for a gateway at `url`: only the address is replaced.
  /// - Throws: `TestSupportError` if it has no address.
  func code(at url: String) throws -> String {
    let address = "127.0.0.1:8379"
    guard code.contains(address) else { throw TestSupportError("\(place): no \(address) in it") }
    return code.replacing(address, with: url.replacing("http://", with: ""))
  }

  /// Runs it in a folder of its own.
  func run(at url: String, _ version: EtcdVersion) async throws -> CommandRun {
    guard let (program, file) = Self.commands[language] else { throw TestSupportError("what runs \(language)?") }
    return try await withTemporaryDirectory { directory in
      try code(at: url).write(toFile: "\(directory)/\(file)", atomically: true, encoding: .utf8)
      let tools = URL(fileURLWithPath: try version.program("etcdctl")).deletingLastPathComponent().path
      return try await CommandRun.shell(
        "export PATH='\(tools)':\"$PATH\" no_proxy=127.0.0.1; cd '\(directory)' && exec \(program) \(file)")
    }
  }
}
