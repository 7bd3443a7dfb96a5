import ArgumentParser
import Logging

extension TimeSpan: ExpressibleByArgument {}

/// A number of bytes on the command line: `1048576`, `1024K`, `512M`, `1G`.
struct ByteCount: ExpressibleByArgument, Sendable {
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
