import ArgumentParser
import Glibc
import GrpcBridge

/// The flags that say who one is to etcd.
struct IdentityOptions: ParsableArguments {
  @Option(
    name: [.long, .customLong("username")],
    help: ArgumentHelp(
      "Who makes requests that come without credentials. By default nobody does. Without a password it is read from "
        + "ETCD_REST_PASSWORD, or asked for on the terminal.", valueName: "name[:password]"))
  var user: String?

  /// - Throws: `ValidationError` where the name or the password is missing.
  func credentials(_ environment: CommandEnvironment) throws -> BasicCredentials? {
    guard let text = user ?? environment["user"] ?? environment["username"] else { return nil }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard !parts[0].isEmpty else { throw ValidationError("--user needs a name, as in NAME:PASSWORD") }
    if parts.count == 2 { return BasicCredentials(user: parts[0], password: parts[1]) }
    if let password = environment["password"] { return BasicCredentials(user: parts[0], password: password) }
    guard isatty(STDIN_FILENO) == 1, let typed = getpass("Password of \(parts[0]): ") else {
      throw ValidationError("--user has no password: give NAME:PASSWORD, or set ETCD_REST_PASSWORD")
    }
    return BasicCredentials(user: parts[0], password: String(cString: typed))
  }
}
