import ArgumentParser
import Logging

/// The flags for logging.
struct LogOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How much to log: trace, debug, info, notice, warning, error, critical. (default: info)", valueName: "level"),
    completion: .list(Logger.Level.allCases.map(\.rawValue)))
  var logLevel: LogLevel?

  @Option(
    help: ArgumentHelp(
      "How all log lines are written: text, or json for an object in each line. (default: text)",
      valueName: "text|json"), completion: .list(["text", "json"]))
  var logFormat: LogFormat?

  @Option(
    help: ArgumentHelp(
      "Which requests to log, at every --log-level: off; errors, those with a status from 400 on, and those cut off; "
        + "slow, these and those that take longer than --slow-request; or all. (default: off)",
      valueName: "off|errors|slow|all"),
    completion: .list(["off", "errors", "slow", "all"]))
  var accessLog: AccessLog.Level?

  @Option(
    help: ArgumentHelp(
      "How long a request takes to count as slow, for --access-log. (default: 500ms)", valueName: "time"),
    transform: TimeSpan.read)
  var slowRequest: TimeSpan?

  /// The logger for messages.
  ///
  /// - Parameter before: the logger that was made at the start, which is kept.
  /// - Throws: `ValidationError` if the environment has a value that a flag does not accept.
  func logger(_ environment: CommandEnvironment, before: Logger? = nil) throws -> Logger {
    let format = try format(environment)
    let level = try environment.value(logLevel, "log-level", default: LogLevel(.info)).level
    if let before { return before }
    LogWriter.standardError.use(format)
    var logger = Logger(label: "etcd-rest") { _ in LineLogHandler(format, to: .standardError) }
    logger.logLevel = level
    return logger
  }

  /// The settings for the log of requests.
  ///
  /// - Throws: `ValidationError` if the environment has a value that a flag does not accept.
  func accessLog(_ environment: CommandEnvironment) throws -> AccessLog.Configuration {
    let slow = try environment.value(slowRequest, "slow-request", default: TimeSpan(milliseconds: 500))
    return AccessLog.Configuration(
      level: try environment.value(accessLog, "access-log", default: .off), slow: slow.milliseconds * 1_000_000,
      format: try format(environment))
  }

  private func format(_ environment: CommandEnvironment) throws -> LogFormat {
    try environment.value(logFormat, "log-format", default: .text)
  }
}

extension LogFormat: ExpressibleByArgument {}
extension AccessLog.Level: ExpressibleByArgument {}
