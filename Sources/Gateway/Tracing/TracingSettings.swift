import GrpcBridge
import TLS

/// Where spans go, and which (`--otlp-endpoint` and the flags beside it).
struct TracingSettings: Sendable {
  let collector: CollectorURL
  /// How many of the traces that begin here are recorded, from 0 to 1.
  var ratio = 1.0
  /// How many spans may wait.
  var maxSpans = Self.standardMaxSpans
  /// Further header lines of each export, each with its line end: secrets are among them.
  var headers = ""
  /// What connections to the collector are made with; nil if it is spoken to in plaintext.
  var tls: RenewableTLSContext?

  /// Some 2 MiB of them: two seconds of 2,000 requests with a call each.
  static let standardMaxSpans = 8192

  init(_ collector: CollectorURL) { self.collector = collector }
}
