import Foundation
import TestSupport
import Testing

/// The results of a command that ends by itself.
struct CommandRun {
  let exit: ChildProcess.Exit
  let output: String
  let errorOutput: String

  /// Runs `etcd-rest` until it ends.
  static func etcdRest(_ arguments: String..., environment: [String: String] = [:]) async throws -> CommandRun {
    try await etcdRest(arguments, environment: environment)
  }

  /// Runs `etcd-rest` until it ends.
  static func etcdRest(_ arguments: [String], environment: [String: String] = [:]) async throws -> CommandRun {
    try await run(try GatewayProcess.program, arguments, environment: environment)
  }

  /// Runs a line of shell.
  static func shell(_ line: String) async throws -> CommandRun {
    try await run("/bin/sh", ["-c", line])
  }

  /// Runs a program until it ends.
  static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    within limit: Duration = suiteLimit
  ) async throws -> CommandRun {
    try await withTemporaryDirectory { directory in
      let process = try await ChildProcess.start(
        program, arguments, environment: environment, output: "\(directory)/out", error: "\(directory)/err")
      do {
        let exit = try await process.exit(within: limit)
        return CommandRun(exit: exit, output: process.output, errorOutput: process.errorOutput)
      } catch {
        await process.killAndWait()
        throw TestSupportError("\(arguments): \(error) \(process.output)\(process.errorOutput)")
      }
    }
  }

  /// Expects that the command failed with a line of its own that names `text`.
  func expectRefusal(naming text: String, sourceLocation: SourceLocation = #_sourceLocation) {
    guard case .code(let code) = exit, code != 0 else {
      Issue.record("ended with \(exit): \(output)\(errorOutput)", sourceLocation: sourceLocation)
      return
    }
    #expect(!output.contains("is serving on"), sourceLocation: sourceLocation)
    let lines = errorOutput.split(separator: "\n")
    #expect(lines.contains { $0.contains(text) }, "\(errorOutput)", sourceLocation: sourceLocation)
    #expect(!errorOutput.contains("Fatal error"), "\(errorOutput)", sourceLocation: sourceLocation)
  }
}

/// Runs `body` with a command that serves, which may end in the meantime; afterwards it is gone.
func withServing(
  _ command: [String], environment: [String: String] = [:], body: (ChildProcess, HTTPClient) async throws -> Void
) async throws {
  try await withTemporaryDirectory { directory in
    let process = try await ChildProcess.start(
      command[0], Array(command.dropFirst()), environment: environment, output: "\(directory)/out",
      error: "\(directory)/err")
    do {
      try await body(process, HTTPClient(try await process.servingURL()))
    } catch {
      await process.killAndWait()
      throw error
    }
    await process.killAndWait()
  }
}

extension ChildProcess {
  /// The URL that it reports to serve on.
  fileprivate func servingURL() async throws -> String {
    try await eventually("line saying where etcd-rest is serving") {
      if let exit = exited { throw TestSupportError("ended (\(exit)): \(output)\(errorOutput)") }
      let line = output.split(separator: "\n").first { $0.contains(" is serving on ") }
      return line.flatMap { $0.firstRange(of: /https?:\/\/[\[\]0-9.:]+/) }.map { String(output[$0]) }
    }
  }
}

/// Processes as `/proc` shows them (proc(5)).
enum ProcessTable {
  /// The living children of a process.
  static func children(of parent: Int32) -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { fields(of: $0)?.parent == parent }
  }

  /// Whether it runs: neither gone nor a zombie.
  static func isAlive(_ process: Int32) -> Bool {
    fields(of: process).map { $0.state != "Z" && $0.state != "X" } ?? false
  }

  static func arguments(of process: Int32) -> [String] {
    let text = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") ?? Data()
    return text.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
  }

  private static func fields(of process: Int32) -> (state: String, parent: Int32)? {
    guard let data = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return nil }
    // The name, in parentheses, may hold blanks and parentheses.
    let fields = String(decoding: data, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 1, let parent = Int32(fields[1]) else { return nil }
    return (String(fields[0]), parent)
  }
}
