import ArgumentParser
import Logging

/// A span of time on the command line: `30s`, `500ms`, `5m`, `1h`; a bare number is seconds.
struct TimeSpan: ExpressibleByArgument, Sendable {
  let milliseconds: UInt64

  init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  init?(argument: String) {
    let units: [(suffix: String, milliseconds: Double)] = [
      ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", 1000),
    ]
    guard let unit = units.first(where: { argument.hasSuffix($0.suffix) }),
      let number = Double(argument.dropLast(unit.suffix.count)), number >= 0, number < 1e9
    else { return nil }
    milliseconds = UInt64(number * unit.milliseconds)
  }
}

/// A number of bytes on the command line: `1048576`, `1024K`, `512M`, `1G`.
struct ByteCount: ExpressibleByArgument, Sendable {
  let bytes: Int

  init(_ bytes: Int) { self.bytes = bytes }

  init?(argument: String) {
    let units: [(suffix: String, shift: Int)] = [("K", 10), ("M", 20), ("G", 30), ("", 0)]
    guard let unit = units.first(where: { argument.hasSuffix($0.suffix) }),
      let number = Int(argument.dropLast(unit.suffix.count)), number >= 0, number <= (1 << 50) >> unit.shift
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
