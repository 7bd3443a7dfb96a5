import GrpcBridge

/// The counters by metric and labels, at one moment. Those of several shards add up.
struct MetricSamples: Sendable {
  typealias Labels = KeyValuePairs<StaticString, String>

  /// The labels as they are between the braces.
  private typealias Series = String

  private var numbers: [Metric: [Series: Double]] = [:]
  private var histograms: [Metric: [Series: Durations]] = [:]

  mutating func add(_ metric: Metric, _ value: some BinaryInteger) { add(metric, [:], Double(value)) }
  mutating func add(_ metric: Metric, _ value: Double) { add(metric, [:], value) }

  mutating func add(_ metric: Metric, _ labels: Labels, _ value: some BinaryInteger) {
    add(metric, labels, Double(value))
  }

  mutating func add(_ metric: Metric, _ labels: Labels, _ value: Double) {
    numbers[metric, default: [:]][Self.series(labels), default: 0] += value
  }

  mutating func add(_ metric: Metric, _ labels: Labels, _ durations: Durations) {
    let series = Self.series(labels)
    if histograms[metric]?[series]?.add(durations) == nil { histograms[metric, default: [:]][series] = durations }
  }

  mutating func add(_ other: MetricSamples) {
    for (metric, series) in other.numbers {
      numbers[metric, default: [:]].merge(series, uniquingKeysWith: +)
    }
    for (metric, series) in other.histograms {
      histograms[metric, default: [:]].merge(series) { left, right in
        var sum = left
        sum.add(right)
        return sum
      }
    }
  }

  /// The sum of a metric's rows.
  func sum(of metric: Metric) -> Double { (numbers[metric] ?? [:]).values.reduce(0, +) }

  /// The sum of a metric's rows with a label, as `NAME="VALUE"`, for which `isWanted` is true.
  func sum(of metric: Metric, where isWanted: (Substring) -> Bool) -> Double {
    (numbers[metric] ?? [:]).reduce(0) { sum, row in
      row.key.split(separator: ",").contains(where: isWanted) ? sum + row.value : sum
    }
  }

  /// Calls `body` with each histogram of a metric.
  func forEachHistogram(of metric: Metric, _ body: (Durations) -> Void) {
    for durations in (histograms[metric] ?? [:]).values { body(durations) }
  }

  /// The text that Prometheus reads (Prometheus documentation, "Exposition formats", text format 0.0.4): for each
  /// metric its type and help, then its series in the order of their labels.
  func text() -> String {
    var text = ""
    for metric in Metric.allCases {
      text += "# HELP \(metric.rawValue) \(metric.help)\n# TYPE \(metric.rawValue) \(metric.type)\n"
      for (labels, value) in (numbers[metric] ?? [:]).sorted(by: { $0.key < $1.key }) {
        text += "\(metric.rawValue)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.number(value))\n"
      }
      for (labels, durations) in (histograms[metric] ?? [:]).sorted(by: { $0.key < $1.key }) {
        Self.write(durations, of: metric, labels, to: &text)
      }
    }
    return text
  }

  private static let bounds = Durations.bounds.map(number) + ["+Inf"]

  private static func write(_ durations: Durations, of metric: Metric, _ labels: String, to text: inout String) {
    var count: UInt64 = 0
    for (bound, more) in zip(bounds, durations.counts) {
      count &+= more
      text += "\(metric.rawValue)_bucket{\(labels),le=\"\(bound)\"} \(count)\n"
    }
    text += "\(metric.rawValue)_sum{\(labels)} \(number(Double(durations.nanoseconds) / 1e9))\n"
    text += "\(metric.rawValue)_count{\(labels)} \(count)\n"
  }

  /// Whole numbers without a fraction.
  private static func number(_ value: Double) -> String { Int64(exactly: value).map { "\($0)" } ?? "\(value)" }

  private static func series(_ labels: Labels) -> Series {
    labels.map { "\($0.key)=\"\(escaped($0.value))\"" }.joined(separator: ",")
  }

  /// A label's value as it is between its quotation marks. The format has escapes for three characters; other control
  /// characters become the text that JSON has for them. They are found by scalars: a combining mark, or a line feed
  /// after a carriage return, makes another `Character` of them.
  private static func escaped(_ value: String) -> String {
    func isPlain(_ byte: UInt8) -> Bool {
      byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
    if value.utf8.allSatisfy(isPlain) { return value }
    var text = ""
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case _ where scalar.properties.generalCategory == .control:
        let digits = String(scalar.value, radix: 16)
        text += "\\\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text
  }
}
