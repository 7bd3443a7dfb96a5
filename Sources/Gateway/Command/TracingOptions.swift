import ArgumentParser
import Logging
import TLS

/// The flags for spans.
struct TracingOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      An OpenTelemetry collector to export a span of each request and of each call to etcd to, by OTLP over HTTP: its base \
      URL, below which they go to /v1/traces. (default: none)
      """, valueName: "url"), transform: CollectorURL.read)
  var otlpEndpoint: CollectorURL?

  @Option(
    help: ArgumentHelp(
      """
      How many of the traces that begin here are recorded, from 0 to 1. One that a client has begun is recorded if it is \
      there. (default: 1)
      """, valueName: "share"), transform: Share.read)
  var otlpSampleRatio: Share?

  @Option(help: "How many spans may wait to be exported; further ones are dropped and counted. (default: 8192)")
  var otlpMaxSpans: Int?

  @Option(
    help: ArgumentHelp(
      "A PEM file of the authorities that may have signed the collector's certificate. (default: the system's)",
      valueName: "file"), completion: .file())
  var otlpCacert: String?

  @Option(
    help: ArgumentHelp(
      "A file of headers of each export, such as one with a token, each in a line as NAME: VALUE. (default: none)",
      valueName: "file"), completion: .file())
  var otlpHeadersFile: String?

  /// The settings from the flags and the environment; nil if nothing is exported.
  ///
  /// - Throws: `ValidationError` with one line that names the flag and its fault.
  func settings(_ environment: CommandEnvironment, logger: Logger) throws -> TracingSettings? {
    let ratio = try environment.value(otlpSampleRatio, "otlp-sample-ratio", default: Share(1))
    let maxSpans = try environment.number(
      otlpMaxSpans, "otlp-max-spans", default: TracingSettings.standardMaxSpans, in: 1...1_000_000)
    let authorities = otlpCacert ?? environment["otlp-cacert"]
    let headers = otlpHeadersFile ?? environment["otlp-headers-file"]
    guard let collector = try environment.value(otlpEndpoint, "otlp-endpoint") else {
      for (flag, text) in [("otlp-cacert", authorities), ("otlp-headers-file", headers)] where text != nil {
        throw ValidationError("--\(flag) needs --otlp-endpoint")
      }
      return nil
    }
    var settings = TracingSettings(collector)
    settings.ratio = ratio.value
    settings.maxSpans = maxSpans
    if let headers { settings.headers = try Self.headerLines(in: headers) }
    if collector.isSecure {
      settings.tls = try Self.tls(authorities, logger)
    } else if authorities != nil {
      throw ValidationError("--otlp-cacert needs an https:// URL in --otlp-endpoint")
    }
    return settings
  }

  private static func tls(_ authorities: String?, _ logger: Logger) throws -> RenewableTLSContext {
    var settings = TLSSettings(.client, verification: .required)
    settings.authorities = authorities
    do {
      return try RenewableTLSContext(settings) { look in
        guard case .failed(let error) = look else { return }
        logger.error(
          "the renewed file of --otlp-cacert is no good; the old one stays in use", metadata: ["reason": "\(error)"])
      }
    } catch {
      throw ValidationError("--otlp-cacert: \(error)")
    }
  }

  /// Reads header lines, each with a name and a value (RFC 9110, section 5.5), and ends each as in a head. No error
  /// shows a value.
  private static func headerLines(in path: String) throws -> String {
    let own = ["host", "content-type", "content-length", "transfer-encoding", "connection"]
    guard let text = String(validating: try contents(of: path, for: "otlp-headers-file"), as: UTF8.self) else {
      throw ValidationError("--otlp-headers-file: \(path) is not UTF-8")
    }
    var lines = ""
    // By bytes: Swift takes CR LF for one character.
    let bytes = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in bytes.enumerated() {
      let line = Substring(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
      if line.isEmpty || line.hasPrefix("#") { continue }
      let place = "--otlp-headers-file: \(path):\(number + 1)"
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2, parts[0].utf8.isToken else { throw ValidationError("\(place): expected NAME: VALUE") }
      guard parts[1].utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }) else {
        throw ValidationError("\(place): a control character is in the value of \(parts[0])")
      }
      guard !own.contains(parts[0].lowercased()) else {
        throw ValidationError("\(place): \(parts[0]) is what the gateway sets itself")
      }
      lines += "\(parts[0]):\(parts[1])\r\n"
    }
    return lines
  }
}
