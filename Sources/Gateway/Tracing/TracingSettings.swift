import GrpcBridge
import TLS

/// The settings for the export of spans (`--otlp-endpoint` and the flags beside it).
struct TracingSettings: Sendable {
  let collector: CollectorURL
  /// The share of the traces beginning here that is recorded, from 0 to 1.
  var ratio = 1.0
  /// How many spans may wait.
  var maxSpans = Self.standardMaxSpans
  /// Further header lines of each export, each with its line end; they may contain secrets.
  var headers = ""
  /// The TLS context for connections to the collector; nil for plaintext.
  var tls: RenewableTLSContext?

  /// Some 2 MiB of spans: two seconds of 2,000 requests with a call each.
  static let standardMaxSpans = 8192

  init(_ collector: CollectorURL) { self.collector = collector }
}
