import ArgumentParser
import Configuration
import Glibc
import Logging

/// Where the settings of a command are that it was not given: the environment, under the names of the flags
/// (`--dial-timeout` is `ETCD_REST_DIAL_TIMEOUT`), and behind it a file.
struct CommandEnvironment {
  private let config = ConfigReader(provider: EnvironmentVariablesProvider()).scoped(to: "etcd.rest")
  let file: ConfigurationFile?

  init(_ file: ConfigurationFile? = nil) { self.file = file }

  /// The value of a flag: as given, else from the environment, else from the file, else the default.
  ///
  /// - Throws: `ValidationError` if the environment or the file has what the flag does not take.
  func value<Value: ExpressibleByArgument>(_ given: Value?, _ flag: String, default standard: Value) throws -> Value {
    try value(given, flag) ?? standard
  }

  /// The same of a flag without a default: nil where there is nothing.
  ///
  /// - Throws: `ValidationError` where the environment or the file has what the flag does not take.
  func value<Value: ExpressibleByArgument>(_ given: Value?, _ flag: String) throws -> Value? {
    if let given { return given }
    guard let (text, place) = found(flag) else { return nil }
    guard let value = Value(argument: text) else {
      let form = (Value.self as? any DescribedArgument.Type).map { "; expected \($0.form)" } ?? ""
      throw ValidationError("\(place): '\(text)' is not a valid value of --\(flag)\(form)")
    }
    return value
  }

  /// Whether a flag without a value was given, here or, as `true` or `false`, in the environment.
  ///
  /// - Throws: `ValidationError` if the environment has something else.
  func flag(_ given: Bool, _ flag: String) throws -> Bool {
    try value(given ? true : nil, flag, default: false)
  }

  /// The name of a flag's variable.
  static func name(of flag: String) -> String {
    prefix + flag.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
  }

  static let prefix = "ETCD_REST_"

  subscript(flag: String) -> String? { found(flag)?.text }

  /// What there is for a flag, and where it was found, for users.
  func found(_ flag: String) -> (text: String, place: String)? {
    if let text = config.string(forKey: ConfigKey(stringLiteral: flag)) { return (text, Self.name(of: flag)) }
    guard let file, let setting = file.settings[flag] else { return nil }
    return (setting.text, file.place(of: setting))
  }

  /// The file, if it is what has a value for a flag.
  func file(for flag: String) -> ConfigurationFile? {
    guard config.string(forKey: ConfigKey(stringLiteral: flag)) == nil, file?.settings[flag] != nil else { return nil }
    return file
  }
}

// MARK: - Variables that mean nothing

extension CommandEnvironment {
  /// Warns of variables that look like ours, and are not read.
  static func warnOfUnknownVariables(_ logger: Logger) {
    for warning in warnings(of: variables) { logger.warning("\(warning)") }
  }

  /// What there is to say of variables with these names.
  static func warnings(of variables: [String]) -> [String] {
    let names = variables.filter { $0.hasPrefix(prefix) && !isOfKubernetes($0.dropFirst(prefix.count)) }
    guard !names.isEmpty else { return [] }
    let known = knownVariables
    return names.sorted().filter { !known.contains($0) }.map { name in
      let hint = known.nearest(to: name).map { "; did you mean \($0)?" } ?? ""
      return "unknown environment variable \(name)\(hint)"
    }
  }

  /// The names of all variables.
  private static var variables: [String] {
    var names: [String] = []
    var entry = environ
    while let text = entry.pointee {
      names.append(String(decoding: String(cString: text).utf8.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self))
      entry += 1
    }
    return names
  }

  /// Whether Kubernetes makes it for a service that is called `etcd-rest` (its documentation, "Environment variables").
  private static func isOfKubernetes(_ rest: Substring) -> Bool {
    rest == "PORT" || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"].contains(where: rest.hasPrefix)
  }

  /// Those of all flags that are looked for there, and that of the password.
  private static var knownVariables: Set<String> {
    let commands: [any ParsableArguments.Type] = [Serve.self, Dev.self, Check.self]
    return Set((["username", "password", "command-timeout"] + commands.flatMap { flags(of: $0) }).map(name))
  }

  /// The flags of a command or a group, by the names of the properties that have them.
  ///
  /// - Parameter withValue: whether only those that take a value, or take none; nil for both.
  static func flags(of type: any ParsableArguments.Type, withValue: Bool? = nil) -> [String] {
    Mirror(reflecting: type.init()).children.flatMap { child -> [String] in
      if let group = child.value as? any FlagGroup {
        return flags(of: Swift.type(of: group).flags, withValue: withValue)
      }
      if let withValue, withValue == (child.value is Flag<Bool>) { return [] }
      // A wrapper's property has its own name behind an underscore: `_maxBatch` is `--max-batch`.
      return [(child.label ?? "").dropFirst().map { $0.isUppercase ? "-" + $0.lowercased() : "\($0)" }.joined()]
    }
  }
}

/// A group of flags within a command.
private protocol FlagGroup {
  static var flags: any ParsableArguments.Type { get }
}

extension OptionGroup: FlagGroup {
  fileprivate static var flags: any ParsableArguments.Type { Value.self }
}

extension Set<String> {
  /// The one that `name` may have been meant for.
  func nearest(to name: String) -> String? {
    let nearest = map { (name: $0, distance: name.editDistance(to: $0)) }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    return nearest.flatMap { $0.distance <= 3 ? $0.name : nil }
  }
}

extension String {
  /// How many letters have to be put in, taken out or changed to make `other` of it (Levenshtein's distance).
  fileprivate func editDistance(to other: String) -> Int {
    let other = Array(other.utf8)
    var row = Array(0...other.count)
    for (index, letter) in utf8.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for column in other.indices {
        let change = diagonal + (letter == other[column] ? 0 : 1)
        diagonal = row[column + 1]
        row[column + 1] = Swift.min(change, row[column] + 1, diagonal + 1)
      }
    }
    return row[other.count]
  }
}
