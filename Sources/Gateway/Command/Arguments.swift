import ArgumentParser
import HTTPServer
import Logging

/// A value that is read from a word of the command line or of the environment, in a form that errors describe.
protocol DescribedArgument: ExpressibleByArgument {
  /// The form, in words.
  static var form: String { get }
}

extension DescribedArgument {
  /// Reads the word that an option was given.
  ///
  /// - Throws: `ValidationError` that describes the form.
  static func read(_ text: String) throws -> Self {
    guard let value = Self(argument: text) else { throw ValidationError("expected \(form)") }
    return value
  }
}

extension TimeSpan: DescribedArgument {
  static let form = "a time such as 500ms, 30s, 5m or 1h; a number alone is seconds"
}

/// A number of bytes on the command line: `1048576`, `1024K`, `512M`, `1G`.
struct ByteCount: DescribedArgument, Sendable {
  static let form = "a number of bytes such as 1048576, 1024K, 512M or 1G"

  let bytes: Int

  init(_ bytes: Int) { self.bytes = bytes }

  init?(argument: String) {
    let units: [(suffix: String, shift: Int)] = [("K", 10), ("M", 20), ("G", 30), ("", 0)]
    guard let unit = units.first(where: { argument.hasSuffix($0.suffix) }),
      case let digits = argument.dropLast(unit.suffix.count), digits.utf8.allSatisfy(\.isDigit),
      let number = Int(digits), number <= (1 << 50) >> unit.shift
    else { return nil }
    bytes = number << unit.shift
  }
}

/// How much to log.
struct LogLevel: ExpressibleByArgument, Sendable {
  let level: Logger.Level

  init(_ level: Logger.Level) { self.level = level }

  init?(argument: String) {
    guard let level = Logger.Level(rawValue: argument) else { return nil }
    self.level = level
  }
}

extension AllowedOrigins: ExpressibleByArgument {
  init?(argument: String) { self.init(argument) }
}
