import ArgumentParser
import HTTPServer

/// `etcd-rest config`.
struct Config: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a file of settings, or show what serve would use.", subcommands: [Check.self, Show.self])

  /// `etcd-rest config check`.
  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check whether serve would start with a file of settings, and with the files that it names.")

    @Argument(help: "The file, as for serve --config.", completion: .file())
    var file: String

    func run() throws {
      let command = try Serve.parse(["--config", file])
      _ = try command.settings(command.file.environment(of: Serve.self))
      say("\(file) is valid")
    }
  }

  /// `etcd-rest config show`.
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show each setting that serve would use, and its source.",
      discussion: """
        It takes all flags of serve. What it prints is YAML that --config takes, but for passwords, which are not \
        shown; defaults are comments in it.
        """)

    @Argument(parsing: .captureForPassthrough, help: "Flags of serve.")
    var flags: [String] = []

    func run() throws {
      let command: Serve
      do {
        command = try Serve.parse(flags)
      } catch {
        Serve.exit(withError: error)
      }
      let environment = try command.file.environment(of: Serve.self)
      _ = try command.settings(environment)
      let given = SettingsOfArguments(flags, of: Serve.self)
      let defaults = Self.defaults
      var unset: [String] = []
      for flag in CommandEnvironment.flags(of: Serve.self) where flag != "config" {
        guard let (text, place) = given[flag].map({ ($0, "the command line") }) ?? environment.found(flag) else {
          unset.append("# \(flag): \(defaults[flag] ?? "none")")
          continue
        }
        say("\(flag): \(Self.quoted(Self.masked(flag, text)))  # \(place)")
      }
      say("\n# Defaults:")
      for line in unset { say(line) }
    }

    /// Hides the password of `NAME:PASSWORD`.
    private static func masked(_ flag: String, _ text: String) -> String {
      guard flag == "user", let colon = text.firstIndex(of: ":") else { return text }
      return text[...colon] + "***"
    }

    /// Quoted so that YAML reads it as text, whatever it contains (YAML 1.2.2, section 7.3.1, "Double-Quoted Style").
    private static func quoted(_ text: String) -> String {
      if text.utf8.allSatisfy({ $0.isDigit || UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || "/.-".utf8.contains($0) }),
        text.utf8.first.map({ $0 != UInt8(ascii: "-") }) == true
      {
        return text
      }
      var quoted = "\""
      for character in text.unicodeScalars {
        switch character {
        case "\"", "\\": quoted += "\\\(character)"
        case _ where character.value < 0x20 || character.value == 0x7F:
          let digits = String(character.value, radix: 16)
          quoted += "\\x" + (digits.count < 2 ? "0" : "") + digits
        default: quoted.unicodeScalars.append(character)
        }
      }
      return quoted + "\""
    }

    /// The defaults, taken from `serve --help`.
    private static var defaults: [String: String] {
      var defaults: [String: String] = [:]
      var flag = Substring()
      // Each flag has one line, or one for its name and one for the rest.
      for line in Serve.helpMessage(columns: 10_000).split(separator: "\n") {
        let text = line.drop { $0 == " " }
        if text.hasPrefix("--") { flag = text.dropFirst(2).prefix { $0.isLetter || $0 == "-" } }
        guard let start = text.firstRange(of: "(default: "), let end = text[start.upperBound...].firstIndex(of: ")")
        else {
          continue
        }
        defaults[String(flag)] = String(text[start.upperBound..<end])
      }
      return defaults
    }
  }
}

/// The settings on a parsed command line, as they were written there.
struct SettingsOfArguments {
  private var texts: [String: String] = [:]

  init(_ arguments: [String], of command: any ParsableArguments.Type) {
    let switches = Set(CommandEnvironment.flags(of: command, withValue: false))
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      guard argument.hasPrefix("--") else { continue }
      let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let name = parts[0] == "username" ? "user" : String(parts[0])
      let value = parts.count == 2 ? String(parts[1]) : switches.contains(name) ? "true" : rest.popFirst() ?? ""
      texts[name] = texts[name].map { "\($0),\(value)" } ?? value
    }
  }

  subscript(flag: String) -> String? { texts[flag] }
}
