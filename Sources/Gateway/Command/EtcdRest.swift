import ArgumentParser
import Glibc

/// Runs the program.
package func runProgram() async { await EtcdRest.main() }

/// The command line.
struct EtcdRest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "etcd-rest",
    abstract: "A REST/JSON gateway for etcd v3, and a small client.",
    discussion: """
      It serves etcd over HTTP/1.1 and JSON, with a user name and a password if etcd's authentication is on:

        etcd-rest serve --endpoints http://127.0.0.1:2379
        curl -u root:PASSWORD -X PUT -d hello http://127.0.0.1:8379/keys/greeting
        curl -u root:PASSWORD http://127.0.0.1:8379/keys/greeting

      To try it without an etcd of your own: etcd-rest dev. The page http://127.0.0.1:8379/docs describes every call, \
      and can make it.

      get, put, del, watch, lease and lock connect to etcd itself, and need no gateway:

        etcd-rest get --endpoints http://127.0.0.1:2379 --user root:PASSWORD greeting
      """,
    version: "etcd-rest \(version) (\(commit ?? "unknown commit"), \(platform), \(compiler))",
    groupedSubcommands: [
      CommandGroup(name: "Gateway", subcommands: [Serve.self, Dev.self, Check.self, Config.self, OpenAPI.self]),
      CommandGroup(
        name: "Client", subcommands: [Get.self, Put.self, Delete.self, Watch.self, LeaseCommand.self, Lock.self]),
    ])

  /// Runs the command that the arguments name.
  ///
  /// ArgumentParser's own `main` shows the usage of the whole program if a subcommand finds a fault in its arguments.
  static func main() async {
    do {
      try checkEncoding()
      var command = try parseAsRoot()
      do {
        if var command = command as? any AsyncParsableCommand {
          try await command.run()
        } else {
          try command.run()
        }
        if command is any ClientOwner { _exit(0) }
      } catch {
        end(command, with: error)
      }
    } catch {
      exit(withError: error)
    }
  }

  private static func end(_ command: any ParsableCommand, with error: any Error) -> Never {
    var text = fullMessage(for: error)
    if let error = error as? ValidationError {
      let usage = usageString(for: type(of: command))
      // `etcd-rest lease grant` of `etcd-rest lease grant [<options>] <ttl>`.
      let words = usage.split(separator: " ").prefix { $0.first?.isLetter == true }
      text =
        "Error: \(error.message)\nUsage: \(usage)\n  See '\(words.joined(separator: " ")) --help' for more information."
    }
    // --help ends with an error, too, of a command in place of the named one.
    guard error is ValidationError || command is any ClientOwner else { exit(withError: error) }
    if !text.isEmpty { complain(text) }
    let code = exitCode(for: error).rawValue
    if command is any ClientOwner { _exit(code) }
    Glibc.exit(code)
  }

  /// Swift's arguments have U+FFFD in place of invalid UTF-8: another key would be read or written.
  private static func checkEncoding() throws {
    for index in 0..<Int(CommandLine.argc) {
      guard let argument = CommandLine.unsafeArgv[index] else { continue }
      guard String(validatingCString: argument) != nil else {
        throw ValidationError("argument \(index) is not UTF-8; a value that is not can come from standard input")
      }
    }
  }
}

/// A command with its own clients of etcd. It ends without the exit handlers of the process: those of OpenSSL and
/// others would free what the clients' threads still use.
protocol ClientOwner {}

/// Why a command has failed, in one line.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Writes a line to standard output at once, even if that is a pipe.
func say(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

/// Writes a line to standard error.
func complain(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

private func write(_ text: String, to descriptor: Int32) {
  var text = text
  try? text.withUTF8 { try write(all: UnsafeRawBufferPointer($0), to: descriptor) }
}

/// Writes all of `bytes`.
///
/// - Throws: ``CommandFailure`` if that fails, as on a full disk.
func write(all bytes: UnsafeRawBufferPointer, to descriptor: Int32 = STDOUT_FILENO) throws(CommandFailure) {
  var rest = bytes[...]
  while let start = UnsafeRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
    let count = Glibc.write(descriptor, start, rest.count)
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw CommandFailure("standard output: \(String(cString: strerror(errno)))") }
    rest = rest.dropFirst(count)
  }
}
