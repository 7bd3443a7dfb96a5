/// A small plot of the last minutes, as SVG in a page: the browser needs no script for it.
struct StatusPlot {
  /// A line of the plot; a gap if there is no value.
  struct Line {
    let name: String
    /// The class in the style sheet.
    let style: String
    let values: [Double?]
  }

  let title: String
  let lines: [Line]
  /// Formats a value, with its unit.
  let text: (Double) -> String

  private static let width = 300.0
  private static let height = 80.0
  /// How many values fit; the newest is at the right.
  private static let places = 60

  var html: String {
    let top = lines.flatMap { $0.values.compactMap { $0 } }.max() ?? 0
    let now = lines.map { line in
      "<span class=\"key \(line.style)\">\(line.name) \(line.values.last.flatMap { $0 }.map(text) ?? "–")</span>"
    }
    let drawn = lines.map { path($0, top: top > 0 ? top : 1) }.joined()
    return """
      <figure>
      <figcaption>\(title) \(now.joined(separator: " "))</figcaption>
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" preserveAspectRatio="none" role="img" \
      aria-label="\(title), at most \(text(top))"><path class="grid" d="M0 0.5H300M0 79.5H300"/>\(drawn)</svg>
      <p class="scale"><span>10 min ago</span><span>at most \(text(top))</span><span>now</span></p>
      </figure>
      """
  }

  private func path(_ line: Line, top: Double) -> String {
    let values = line.values.suffix(Self.places)
    let step = Self.width / Double(Self.places - 1)
    let first = Self.places - values.count
    var data = ""
    var isDrawing = false
    for (index, value) in values.enumerated() {
      guard let value else {
        isDrawing = false
        continue
      }
      let x = Double(first + index) * step
      let y = (Self.height - 1) - (Self.height - 4) * min(1, max(0, value / top))
      data += "\(isDrawing ? "L" : "M")\(Self.tenths(x)) \(Self.tenths(y))"
      // A single value is a dot.
      if !isDrawing { data += "h.1" }
      isDrawing = true
    }
    return "<path class=\"line \(line.style)\" d=\"\(data)\"/>"
  }

  private static func tenths(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }
}

extension StatusPlot {
  /// The plots of the page.
  static func all(_ spans: [StatusReport.Span]) -> [StatusPlot] {
    func line(_ name: String, _ style: String, _ value: (StatusReport.Span) -> Double?) -> Line {
      Line(name: name, style: style, values: spans.map(value))
    }
    return [
      StatusPlot(
        title: "Requests", lines: [line("all", "one", \.requestsPerSecond), line("5xx", "bad", \.errorsPerSecond)],
        text: perSecond),
      StatusPlot(
        title: "Latency", lines: [line("median", "one", \.median), line("99 %", "two", \.slowest)], text: time),
      StatusPlot(title: "Logins at etcd", lines: [line("", "one", \.loginsPerSecond)], text: perSecond),
      StatusPlot(
        title: "Open", lines: [line("streams", "one", \.streams), line("watches", "two", \.watches)], text: short),
    ]
  }

  private static func perSecond(_ rate: Double) -> String { "\(short(rate))/s" }

  private static func time(_ seconds: Double) -> String {
    seconds < 1 ? "\(short(seconds * 1000)) ms" : "\(short(seconds)) s"
  }

  /// Two digits, or all digits of a whole number.
  private static func short(_ number: Double) -> String {
    guard number < 10 else { return "\(Int64(min(number, 1e15).rounded()))" }
    let text = "\((number * 10).rounded() / 10)"
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
