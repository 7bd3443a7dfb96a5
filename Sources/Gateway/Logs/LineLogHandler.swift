import Logging

/// Writes the messages of a `Logger` as lines of the log.
struct LineLogHandler: LogHandler {
  var logLevel = Logger.Level.info
  var metadata: Logger.Metadata = [:]
  private let format: LogFormat
  private let writer: LogWriter

  init(_ format: LogFormat, to writer: LogWriter) {
    self.format = format
    self.writer = writer
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var clock = LogClock()
    var line = LogLine(format, at: clock.text, event.level, event.message.description)
    let fields = metadata.merging(event.metadata ?? [:]) { _, own in own }
    for (name, value) in fields.sorted(by: { $0.key < $1.key }) { line.add(name, "\(value)") }
    if let error = event.error { line.add("error", "\(error)") }
    writer.append(line.end())
  }
}
