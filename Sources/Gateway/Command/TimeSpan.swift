import HTTPServer

/// A span of time in flags, queries and documents: `30s`, `500ms`, `5m`, `1h`; a bare number is seconds.
struct TimeSpan: Sendable {
  let milliseconds: UInt64

  /// Far beyond any accepted time: a billion hours in milliseconds, so that computing with it does not overflow.
  private static let bound = 1e9 * 3_600_000

  init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  init?(argument: String) {
    let units: [(suffix: String, milliseconds: Double)] = [
      ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("", 1000),
    ]
    guard let unit = units.first(where: { argument.hasSuffix($0.suffix) }),
      let number = Double(decimal: argument.dropLast(unit.suffix.count)),
      case let span = number * unit.milliseconds, span < Self.bound
    else { return nil }
    milliseconds = UInt64(span)
  }

  /// The form of a time within `range`, in milliseconds, for errors.
  static func description(of range: ClosedRange<UInt64>) -> String {
    let examples = ["500ms", "30s", "5m", "1h"].filter {
      TimeSpan(argument: $0).map { range.contains($0.milliseconds) } == true
    }
    let list = examples.dropLast().joined(separator: ", ") + (examples.count > 1 ? " or " : "") + (examples.last ?? "")
    return "a time such as \(list), from \(range.lowerBound / 1000)s to \(range.upperBound / 1000)s"
  }
}

extension Double {
  /// Reads digits with at most one point and, if allowed, an exponent. Other forms that `Double` reads are nil: signs,
  /// hexadecimal digits, `inf`, `nan`.
  init?(decimal text: some StringProtocol, mayHaveExponent: Bool = false) {
    func isDigitOrPoint(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ".") || byte.isDigit }
    guard let first = text.utf8.first, isDigitOrPoint(first),
      text.utf8.allSatisfy({ isDigitOrPoint($0) || (mayHaveExponent && "eE+-".utf8.contains($0)) })
    else { return nil }
    self.init(text)
  }
}
