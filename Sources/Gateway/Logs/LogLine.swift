import ByteBuffers
import Glibc
import HTTPServer
import Logging
import ProtobufWire

/// The format of log lines (`--log-format`).
enum LogFormat: String, Sendable {
  /// The time, the level, the message, and `NAME=VALUE` for each field, in quotes if need be.
  case text
  /// A JSON object on each line.
  case json
}

/// One line of the log, in either format.
///
/// Text from outside cannot end a line, begin a field or move a terminal's cursor: quotes, backslashes and invisible
/// characters are escaped as in JSON, in text as well.
struct LogLine: ~Copyable {
  private let format: LogFormat
  private var bytes = ByteBuffer(capacity: 512)

  /// - Parameters:
  ///   - time: the text of ``LogClock``.
  ///   - message: the line's message.
  init(_ format: LogFormat, at time: String, _ level: Logger.Level, _ message: String) {
    self.format = format
    switch format {
    case .text:
      bytes.append(time.utf8)
      bytes.append(" ")
      bytes.append(level.rawValue.utf8)
      bytes.append(" ")
      bytes.appendEscaped(message)
    case .json:
      bytes.append("{\"time\":\"")
      bytes.append(time.utf8)
      bytes.append("\",\"level\":\"")
      bytes.append(level.rawValue.utf8)
      bytes.append("\",\"message\":\"")
      bytes.appendEscaped(message)
      bytes.append("\"")
    }
  }

  private mutating func begin(_ name: String) {
    switch format {
    case .text:
      bytes.append(" ")
      bytes.appendEscaped(name)
      bytes.append("=")
    case .json:
      bytes.append(",\"")
      bytes.appendEscaped(name)
      bytes.append("\":")
    }
  }

  mutating func add(_ name: String, _ value: String) {
    begin(name)
    let isBare = format == .text && !value.isEmpty && value.utf8.allSatisfy(Self.needsNoQuotes)
    if isBare { return bytes.append(value.utf8) }
    bytes.append("\"")
    bytes.appendEscaped(value)
    bytes.append("\"")
  }

  mutating func add(_ name: String, _ value: some BinaryInteger) {
    begin(name)
    bytes.append("\(value)".utf8)
  }

  mutating func add(_ name: String, _ value: Bool) {
    begin(name)
    bytes.append(value ? "true" : "false")
  }

  /// Adds a time in seconds, to the microsecond.
  mutating func add(_ name: String, nanoseconds: UInt64) {
    begin(name)
    let microseconds = nanoseconds / 1000
    bytes.append("\(microseconds / 1_000_000).".utf8)
    // The first of seven digits keeps the zeros after it.
    bytes.append("\(1_000_000 + microseconds % 1_000_000)".utf8.dropFirst())
  }

  consuming func end() -> ByteBuffer {
    bytes.append(format == .text ? "\n" : "}\n")
    return bytes
  }

  private static func needsNoQuotes(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "=")
  }
}

extension ByteBuffer {
  /// Appends a text as it is between the quotes of a JSON string, with all invisible characters escaped: control
  /// characters (C1 included), line separators, and those that change the direction of writing.
  fileprivate mutating func appendEscaped(_ text: String) {
    func isPlain(_ byte: UInt8) -> Bool {
      byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
    if text.utf8.allSatisfy(isPlain) { return append(text.utf8) }
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": append("\\n")
      case "\r": append("\\r")
      case "\t": append("\\t")
      case "\"": append("\\\"")
      case "\\": append("\\\\")
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
          for unit in String(scalar).utf16 {
            let digits = String(unit, radix: 16)
            append("\\u")
            append("0000".utf8.dropFirst(digits.utf8.count))
            append(digits.utf8)
          }
        default: append(String(scalar).utf8)
        }
      }
    }
  }
}

/// The time of log lines, in UTC, such as `2026-11-29T03:14:15.926Z` (RFC 3339): formatted anew each second, except for
/// the milliseconds.
struct LogClock {
  private var second = -1
  private var prefix = ""

  var text: String {
    mutating get {
      var now = timespec()
      clock_gettime(CLOCK_REALTIME, &now)
      if now.tv_sec != second {
        second = now.tv_sec
        prefix = utcTime("%Y-%m-%dT%H:%M:%S.", at: now.tv_sec)
      }
      return "\(prefix)\("\(1000 + now.tv_nsec / 1_000_000)".dropFirst())Z"
    }
  }
}
