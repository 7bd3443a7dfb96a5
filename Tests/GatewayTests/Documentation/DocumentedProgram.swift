import Foundation
import TestSupport

/// A program in a page, and its output there.
struct DocumentedProgram {
  /// The command that runs a program of a language, and the name of its file. A `console` block has commands behind
  /// `$`, and their output.
  static let runners = [
    "sh": ("bash -e", "example.sh"), "console": ("bash -e", "example.sh"), "javascript": ("node", "example.mjs"),
    "python": ("/usr/bin/python3", "example.py"), "php": ("php", "example.php"), "ruby": ("ruby", "example.rb"),
  ]
  /// Languages of blocks that are not programs.
  private static let data: Set = ["text", "json", "yaml", "haproxy", "nginx", "promql", "ini"]

  let page: String
  let language: String
  /// The page and the line where it begins.
  let place: String
  /// Its code as it stands in the page; for `console` only the commands.
  let code: String
  /// Its output in the page: the `text` block after it; nil if there is none.
  fileprivate(set) var output: String?
  /// The files that the page shows before it, by name.
  fileprivate let files: [String: String]

  var isShell: Bool { language == "sh" || language == "console" }

  private init(_ block: DocumentedBlock, of page: String, files: [String: String]) {
    (self.page, language, place, self.files) = (page, block.language, block.place, files)
    guard language == "console" else {
      code = block.text
      return
    }
    let lines = block.text.split(separator: "\n", omittingEmptySubsequences: false)
    code = lines.filter { $0.hasPrefix("$ ") }.map { $0.dropFirst(2) + "\n" }.joined()
    output = lines.filter { !$0.hasPrefix("$ ") }.joined(separator: "\n")
  }

  /// Programs that run one after the other with the same etcd and in the same folder.
  struct Group {
    /// Whether authentication is on, with the user `root`.
    let isGuarded: Bool
    var programs: [DocumentedProgram]
    var code: String { programs.map(\.code).joined() }
  }

  /// All programs of a page, except those that are run elsewhere.
  /// - Throws: `TestSupportError` for a block that is neither a program nor data.
  static func all(in page: String) throws -> [Group] {
    var groups: [Group] = []
    var files: [String: String] = [:]
    var wasProgram = false
    for block in try DocumentedBlock.all(in: page) where !DocumentationException.isElsewhere(block, of: page) {
      let (option, last) = (block.info.dropFirst().first, groups.indices.last)
      guard block.info.count <= 2, runners[block.language] != nil || data.contains(block.language) else {
        throw TestSupportError("\(block.place): what is '\(block.info.joined(separator: " "))'? Nobody runs it")
      }
      guard runners[block.language] != nil else {
        if let option {
          files[option] = block.text
        } else if block.language == "text", wasProgram, let last {
          groups[last].programs[groups[last].programs.count - 1].output = block.text
        }
        wasProgram = false
        continue
      }
      let program = DocumentedProgram(block, of: page, files: files)
      switch (option, last) {
      case (nil, _): groups.append(Group(isGuarded: true, programs: [program]))
      case ("no-auth", _): groups.append(Group(isGuarded: false, programs: [program]))
      // It needs the keys and files of the program before it.
      case ("same-etcd", let last?): groups[last].programs.append(program)
      default: throw TestSupportError("\(block.place): what is '\(block.info.joined(separator: " "))'?")
      }
      wasProgram = block.language != "console"
    }
    return groups
  }

  // MARK: - Shell

  /// Its commands as a script, without those that are not run. `until_lines` runs those that do not end.
  private var script: String {
    // What a page shows comes within a second as a rule, but not on a busy machine.
    let patient = code.replacing(" -m 1 ", with: " -m 10 ").replacing(
      /Request-Timeout: [13]'/, with: "Request-Timeout: 10'")
    let lines = patient.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let run = lines.filter { line in !DocumentationException.notRun.contains { $0.isOf(line, page) } }.map { line in
      guard let endless = DocumentationException.endless.first(where: { $0.isOf(line, page) }) else { return line }
      return "until_lines \(endless.lines) '\(endless.meanwhile)' \(line)"
    }
    guard language == "console" else { return run.joined(separator: "\n") }
    return run.filter { !$0.isEmpty }.map { "{ \($0)\n} > .shown || true\nshow\n" }.joined()
  }

  /// The beginning of the script: programs, addresses for commands without flags, functions, and a trap that ends
  /// processes in the background.
  private func surroundings(_ reader: Reader) -> String {
    """
    trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT
    export PATH='\(reader.programs)':"$PATH" CURL_HOME='\(reader.programs)' no_proxy=127.0.0.1,localhost
    export ETCD_REST_ENDPOINTS='\(reader.etcd.url)' ETCDCTL_ENDPOINTS='\(reader.etcd.url)' ETCDCTL_API=3
    # COUNT MEANWHILE COMMAND…: runs a command that does not end by itself until it has printed so many lines; an error
    # is a failure. While it waits for the last line, it repeats MEANWHILE.
    until_lines() {
      local count=$1 meanwhile=$2 line running busy=
      shift 2
      exec 9< <(ETCD_REST_LISTEN=127.0.0.1:0 exec "$@" 9<&-)
      running=$!
      while [ "$count" -gt 0 ]; do
        if [ "$count" = 1 ] && [ -n "$meanwhile" ]; then
          while :; do eval "$meanwhile" > /dev/null 2>&1 || true; sleep 0.1; done 9<&- &
          busy=$!
        fi
        IFS= read -r line <&9 || { echo "it has ended: $*" >&2; exit 1; }
        case $line in '{"error"'*) echo "$line" >&2; exit 1 ;; esac
        echo "$line"
        count=$((count - 1))
      done
      kill $busy "$running"
      wait $busy "$running" || true
      exec 9<&-
    }
    # Prints the output of a command, with a line feed at its end.
    show() {
      cat .shown
      if [ -s .shown ] && [ -n "$(tail -c 1 .shown)" ]; then echo; fi
    }

    """
  }

  // MARK: - Running

  /// Runs it in the reader's folder.
  func run(_ reader: Reader) async throws -> CommandRun {
    guard let (program, file) = Self.runners[language] else { throw TestSupportError("what runs \(language)?") }
    for (name, text) in files {
      try reader.here(text).write(toFile: "\(reader.directory)/\(name)", atomically: true, encoding: .utf8)
    }
    let text = isShell ? surroundings(reader) + reader.here(script) : reader.here(code)
    try text.write(toFile: "\(reader.directory)/\(file)", atomically: true, encoding: .utf8)
    return try await CommandRun.shell("export no_proxy=127.0.0.1; cd '\(reader.directory)' && exec \(program) \(file)")
  }

  /// Why a run is not as the page says; nil if it is.
  func fault(in run: CommandRun, _ reader: Reader) -> String? {
    if run.exit != .code(0) { return "it ended with \(run.exit)" }
    if let output {
      let (shown, real) = (Self.comparable(output), Self.comparable(reader.inPage(run.output)))
      return shown == real ? nil : "the page shows\n\(shown)\nand it printed\n\(real)"
    }
    // curl reports each status on standard error: see `.curlrc`.
    let refused = run.errorOutput.split(separator: "\n").filter { $0.contains(/^curl's status (?![23])/) }
    return refused.isEmpty ? nil : refused.joined(separator: ", ")
  }

  /// The text without IDs that each etcd chooses for itself and without measurements, which may differ, and without
  /// line feeds at its end, as the value of a key has none.
  static func comparable(_ text: String) -> String {
    text.replacing(/\n+$/) { _ in "" }
      .replacing(/"(cluster_id|member_id|raft_term)":"[0-9]+"/) { "\"\($0.output.1)\":\"-\"" }
      .replacing(/"lease":"[0-9]{10,}"/) { _ in "\"lease\":\"-\"" }
      .replacing(/[0-9]+ (ms|KiB|MiB)/) { "- \($0.output.1)" }
      .replacing(/(version +)[0-9.]+/) { "\($0.output.1)-" }
      .replacing(/, term [0-9]+/) { _ in ", term -" }
  }
}

/// A user who follows a page: has a folder with the files that it mentions, an etcd and a gateway.
struct Reader {
  let directory: String
  let etcd: EtcdProcess
  /// The folder of the programs of the page and curl's settings.
  let programs: String
  /// The addresses and folders of pages, and those in their place.
  private let places: [(page: String, here: String)]

  /// - Parameter code: the code of all programs that it runs.
  private init(_ code: String, _ etcd: EtcdProcess, _ gateway: GatewayProcess, in directory: String) throws {
    (self.directory, self.etcd) = (directory, etcd)
    programs = "\(directory)/.programs"
    let ports = try LoopbackPort.pick(5).map { "127.0.0.1:\($0)" }
    let lines = code.split(separator: "\n")
    // A server that the page itself starts gets its own address.
    let startsGateway = lines.contains { $0.hasPrefix("etcd-rest serve") }
    let startsEtcd = lines.contains { $0.hasPrefix("etcd --") }
    places = [
      ("127.0.0.1:8379", startsGateway ? ports[0] : gateway.authority), ("127.0.0.1:23790", ports[1]),
      ("127.0.0.1:22379", ports[2]),
      ("127.0.0.1:2379", startsEtcd ? ports[3] : etcd.url.replacing("http://", with: "")),
      ("https://etcd1:2379", etcd.secureURL()), ("https://etcd2:2379", etcd.secureURL("localhost")),
      ("https://gateway.example:8443", "https://\(ports[4])"), ("https://:8443", "https://\(ports[4])"),
      ("https://host/etcd", gateway.url), ("http://one:8379", gateway.url), ("http://other:8379", gateway.url),
      ("/etc/bash_completion.d", directory), ("/etc/etcd-rest", directory),
    ]
    try FileManager.default.createDirectory(atPath: programs, withIntermediateDirectories: true)
    for (name, program) in [
      ("etcd", try etcd.version.program("etcd")), ("etcdctl", try etcd.version.program("etcdctl")),
      ("etcd-rest", try GatewayProcess.program),
    ] {
      try FileManager.default.createSymbolicLink(atPath: "\(programs)/\(name)", withDestinationPath: program)
    }
    try #"write-out = "%{stderr}curl's status %{http_code} of %{url_effective}\n""#
      .write(toFile: "\(programs)/.curlrc", atomically: true, encoding: .utf8)
    try Data([0x89, 0x50, 0x4e, 0x47, 0, 0xff]).write(to: URL(fileURLWithPath: "\(directory)/logo.png"))
    for (name, text) in [("file", "text\n"), ("password", "rootpw\n"), ("backup.sh", "#!/bin/sh\necho \"saved $1\"\n")]
    {
      try text.write(toFile: "\(directory)/\(name)", atomically: true, encoding: .utf8)
    }
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(directory)/backup.sh")
  }

  /// Runs `body` with a reader of the programs of `group`, who has a new etcd.
  static func with(
    _ group: DocumentedProgram.Group, _ version: EtcdVersion, _ body: (Reader) async throws -> Void
  ) async throws {
    try await withTemporaryDirectory { directory in
      let authority = try TestAuthority(in: directory)
      let certificate = try authority.issue("gateway")
      for (name, file) in [
        ("etcd-ca.pem", authority.certificate), ("tls.crt", certificate.certificate), ("tls.key", certificate.key),
      ] {
        try FileManager.default.copyItem(atPath: file, toPath: "\(directory)/\(name)")
      }
      try await withEtcd(version, tls: EtcdTLS(try authority.issue(".member"))) { etcd in
        try await withGateway([etcd.url]) { gateway in
          if group.isGuarded { try await etcd.enableAuth(rootPassword: AuthFixture.rootPassword) }
          try await body(try Reader(group.code, etcd, gateway, in: directory))
        }
      }
    }
  }

  /// A text of the page with the addresses and folders of this reader.
  func here(_ text: String) -> String { places.reduce(text) { $0.replacing($1.page, with: $1.here) } }

  /// An output of this reader with the addresses and folders of the page.
  func inPage(_ text: String) -> String { places.reduce(text) { $0.replacing($1.here, with: $1.page) } }
}
