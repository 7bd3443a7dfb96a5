import ArgumentParser
import Glibc
import GrpcBridge

/// The flags for the user at etcd.
struct IdentityOptions: ParsableArguments {
  @Option(
    name: [.long, .customLong("username")],
    help: ArgumentHelp(
      "The etcd user: with serve and dev, of requests without credentials; otherwise of the command's calls. A "
        + "password that is left out comes from --password-file, from ETCD_REST_PASSWORD or from the terminal. "
        + "(default: none)",
      valueName: "name[:password]"))
  var user: String?

  @Option(
    help: ArgumentHelp("A file with the password of --user in its first line.", valueName: "file"),
    completion: .file())
  var passwordFile: String?

  /// - Parameter before: the credentials at the start. A password that was typed is not requested again.
  /// - Throws: `ValidationError` if the name or the password is missing.
  func credentials(
    _ environment: CommandEnvironment, before: BasicCredentials? = nil
  ) throws -> BasicCredentials? {
    let file = passwordFile ?? environment["password-file"]
    guard let text = user ?? environment["user"] ?? environment["username"] else {
      guard file == nil else { throw ValidationError("--password-file needs --user") }
      return nil
    }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard !parts[0].isEmpty else { throw ValidationError("--user needs a name, as in NAME:PASSWORD") }
    if parts.count == 2 {
      guard file == nil else {
        throw ValidationError("--user and --password-file both have a password: give one of them")
      }
      return BasicCredentials(user: parts[0], password: parts[1])
    }
    if let file { return BasicCredentials(user: parts[0], password: try Self.password(in: file)) }
    if let password = environment["password"] { return BasicCredentials(user: parts[0], password: password) }
    if let before, before.user == parts[0] { return before }
    guard isatty(STDIN_FILENO) == 1, let typed = getpass("Password of \(parts[0]): ") else {
      throw ValidationError(
        "--user has no password: give NAME:PASSWORD or --password-file FILE, or set ETCD_REST_PASSWORD")
    }
    return BasicCredentials(user: parts[0], password: String(cString: typed))
  }

  /// The first line of a file, whatever ends it.
  private static func password(in file: String) throws -> String {
    let line = try contents(of: file, for: "password-file").prefix {
      $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r")
    }
    guard !line.isEmpty, let password = String(validating: line, as: UTF8.self) else {
      throw ValidationError("--password-file: \(file) has no password in its first line")
    }
    return password
  }
}
