import ArgumentParser
import Configuration
import Glibc
import Logging

/// The settings that are not on the command line: from the environment, under the names of the flags (`--dial-timeout`
/// is `ETCD_REST_DIAL_TIMEOUT`), or else from a file.
struct CommandEnvironment {
  private let config = ConfigReader(provider: EnvironmentVariablesProvider()).scoped(to: "etcd.rest")
  let file: ConfigurationFile?

  init(_ file: ConfigurationFile? = nil) { self.file = file }

  /// The value of a flag: from the command line, else from the environment, else from the file, else the default.
  ///
  /// - Throws: `ValidationError` if the environment or the file has a value that the flag does not accept.
  func value<Value: ExpressibleByArgument>(_ given: Value?, _ flag: String, default standard: Value) throws -> Value {
    try value(given, flag) ?? standard
  }

  /// The same for a flag without a default: nil if there is no value.
  ///
  /// - Throws: `ValidationError` if the environment or the file has a value that the flag does not accept.
  func value<Value: ExpressibleByArgument>(_ given: Value?, _ flag: String) throws -> Value? {
    if let given { return given }
    guard let (text, place) = found(flag) else { return nil }
    guard let value = Value(argument: text) else {
      let form = (Value.self as? any DescribedArgument.Type).map { "; expected \($0.form)" } ?? ""
      throw ValidationError("\(place): '\(text)' is not a valid value of --\(flag)\(form)")
    }
    return value
  }

  /// Whether a flag without a value is set, on the command line or, as `true` or `false`, in the environment.
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

  /// The value of a flag and its place, which errors name.
  func found(_ flag: String) -> (text: String, place: String)? {
    if let text = config.string(forKey: ConfigKey(stringLiteral: flag)) { return (text, Self.name(of: flag)) }
    guard let file, let setting = file.settings[flag] else { return nil }
    return (setting.text, file.place(of: setting))
  }

  /// The file, if a flag's value comes from it.
  func file(for flag: String) -> ConfigurationFile? {
    guard config.string(forKey: ConfigKey(stringLiteral: flag)) == nil, file?.settings[flag] != nil else { return nil }
    return file
  }
}

// MARK: - Unknown variables

extension CommandEnvironment {
  /// Warns of variables that look like the gateway's but are not read.
  static func warnOfUnknownVariables(_ logger: Logger) {
    for warning in warnings(of: variables) { logger.warning("\(warning)") }
  }

  /// The warnings for variables with these names.
  static func warnings(of variables: [String]) -> [String] {
    let names = variables.filter { $0.hasPrefix(prefix) && !isOfKubernetes($0.dropFirst(prefix.count)) }
    guard !names.isEmpty else { return [] }
    let known = knownVariables
    return names.sorted().filter { !known.contains($0) }.map { name in
      let hint = known.nearest(to: name).map { "; did you mean \($0)?" } ?? ""
      return "unknown environment variable \(name)\(hint)"
    }
  }

  /// The names of all environment variables.
  private static var variables: [String] {
    var names: [String] = []
    var entry = environ
    while let text = entry.pointee {
      names.append(String(decoding: String(cString: text).utf8.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self))
      entry += 1
    }
    return names
  }

  /// Whether Kubernetes makes the variable for a service called `etcd-rest` (its documentation, "Environment
  /// variables").
  private static func isOfKubernetes(_ rest: Substring) -> Bool {
    rest == "PORT" || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"].contains(where: rest.hasPrefix)
  }

  /// The variables of all flags that are read from there, and that of the password.
  private static var knownVariables: Set<String> {
    let commands: [any ParsableArguments.Type] = [Serve.self, Dev.self, Check.self]
    return Set((["username", "password", "command-timeout"] + commands.flatMap { flags(of: $0) }).map(name))
  }

  /// The flags of a command or a group, by the names of their properties.
  ///
  /// - Parameter withValue: whether to list those with a value (true) or without (false); nil for both.
  static func flags(of type: any ParsableArguments.Type, withValue: Bool? = nil) -> [String] {
    Mirror(reflecting: type.init()).children.flatMap { child -> [String] in
      if let group = child.value as? any FlagGroup {
        return flags(of: Swift.type(of: group).flags, withValue: withValue)
      }
      if let withValue, withValue == (child.value is Flag<Bool>) { return [] }
      // A property wrapper's storage has the property's name after an underscore: `_maxBatch` is `--max-batch`.
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
  /// The name that `name` may be a misspelling of.
  func nearest(to name: String) -> String? {
    let nearest = map { (name: $0, distance: name.editDistance(to: $0)) }
      .min { ($0.distance, $0.name) < ($1.distance, $1.name) }
    return nearest.flatMap { $0.distance <= 3 ? $0.name : nil }
  }
}

extension String {
  /// How many letters have to be added, removed or changed to turn this into `other` (Levenshtein's distance).
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
