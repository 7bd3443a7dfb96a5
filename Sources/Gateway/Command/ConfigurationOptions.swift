import ArgumentParser

/// The flag that names a file with settings.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A YAML file with settings under the names of flags. The command line and the environment override it. It is "
        + "read again on SIGHUP: docs/flags.md says which settings take effect then. (default: none)", valueName: "file"
    ),
    completion: .file())
  var config: String?

  /// The settings of a command that are not on its command line.
  ///
  /// - Throws: `ValidationError` with one line that names the file, the line and the fault.
  func environment(of command: any ParsableArguments.Type) throws -> CommandEnvironment {
    guard let path = config ?? CommandEnvironment()["config"] else { return CommandEnvironment() }
    var flags = Set(CommandEnvironment.flags(of: command))
    flags.remove("config")
    return CommandEnvironment(try ConfigurationFile(path, flags: flags.union(["password"])))
  }
}
